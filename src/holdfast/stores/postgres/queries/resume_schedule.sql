-- What came due meanwhile was paused, not missed.
update :"schema".schedules
set paused_at = null, paused_by = null, not_before = clock_timestamp(), updated_at = clock_timestamp()
where name = %(name)s and paused_at is not null returning name;
