-- Rows of subscriptions by name, locked against a registration at the same moment.
select id, name, patterns, partitions, ordering, on_dead, replayable, paused_at is not null as paused
from :"schema".subscriptions where name = any(%(names)s::text[]) order by name for update;
