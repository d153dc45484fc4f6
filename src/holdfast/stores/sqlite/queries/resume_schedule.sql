-- What came due meanwhile was paused, not missed.
update schedules set paused_at = null, paused_by = null, not_before = :now, updated_at = :now
where name = :name and paused_at is not null returning name;
