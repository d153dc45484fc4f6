select id, name, patterns, partitions, ordering, on_dead, replayable, paused_at, paused_by, created_at, updated_at
from :"schema".subscriptions order by name;
