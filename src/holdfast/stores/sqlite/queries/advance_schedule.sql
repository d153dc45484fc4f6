-- Whoever moves it from the time that he has seen makes the events; everybody else finds it moved.
update schedules set next_at = :next_at, last_at = coalesce(:last_at, last_at)
where name = :name and next_at = :seen and paused_at is null;
