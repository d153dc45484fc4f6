-- Nobody works for them until all is there.
update subscriptions set paused_at = coalesce(paused_at, :now), paused_by = coalesce(paused_by, :actor)
where name in (select value from json_each(:names));
