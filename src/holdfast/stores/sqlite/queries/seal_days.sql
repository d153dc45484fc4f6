select day, segments, events, head, sealed_at, null as dropped_at from seal_days order by day;
