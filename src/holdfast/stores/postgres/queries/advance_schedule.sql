-- Whoever moves it from the time that he has seen makes the events; everybody else finds it moved.
update :"schema".schedules set next_at = %(next_at)s::timestamptz, last_at = coalesce(%(last_at)s::timestamptz, last_at)
where name = %(name)s and next_at = %(seen)s::timestamptz and paused_at is null returning name;
