update schedules set paused_at = :now, paused_by = :actor, updated_at = :now
where name = :name and paused_at is null returning name;
