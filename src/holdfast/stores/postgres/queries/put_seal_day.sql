insert into :"schema".seal_days (day, segments, events, head)
values (%(day)s::date, %(segments)s, %(events)s, %(head)s)
on conflict (day) do update
set segments = excluded.segments, events = excluded.events, head = excluded.head, sealed_at = excluded.sealed_at;
