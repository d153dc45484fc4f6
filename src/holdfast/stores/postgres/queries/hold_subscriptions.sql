-- Nobody works for them until all is there.
update :"schema".subscriptions
set paused_at = coalesce(paused_at, clock_timestamp()), paused_by = coalesce(paused_by, %(actor)s)
where name in (select json_array_elements_text(%(names)s::text::json));
