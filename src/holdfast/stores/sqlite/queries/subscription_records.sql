select id, name, patterns, partitions, ordering, on_dead, replayable, paused_at, paused_by, created_at, updated_at
from subscriptions order by name;
