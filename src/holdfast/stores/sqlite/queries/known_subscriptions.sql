select id, name, patterns, partitions, ordering, on_dead, replayable, paused_at is not null as paused
from subscriptions where name = :name;
