select day, segments, events, head, sealed_at, dropped_at from :"schema".seal_days order by day;
