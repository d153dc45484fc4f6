update :"schema".subscriptions set paused_at = clock_timestamp(), paused_by = %(actor)s
where name = %(name)s and paused_at is null returning id;
