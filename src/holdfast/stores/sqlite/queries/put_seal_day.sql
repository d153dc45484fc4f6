insert into seal_days (day, segments, events, head, sealed_at) values (:day, :segments, :events, :head, :now)
on conflict (day) do update
set segments = excluded.segments, events = excluded.events, head = excluded.head, sealed_at = excluded.sealed_at;
