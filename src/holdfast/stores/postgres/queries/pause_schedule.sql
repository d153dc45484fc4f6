update :"schema".schedules set paused_at = clock_timestamp(), paused_by = %(actor)s, updated_at = clock_timestamp()
where name = %(name)s and paused_at is null returning name;
