-- Receipts of many subscriptions at once: what those of one kind have in common, and which of the ids are theirs.
insert into :"schema".receipts (day, subscription, event_id, attempts)
select date '2000-01-01' + kind.day, kind.subscription, event_id, kind.attempts
from unnest(%(days)s::integer[], %(subscriptions)s::integer[], %(attempts)s::integer[],
    %(firsts)s::integer[], %(lasts)s::integer[]) as kind(day, subscription, attempts, first, last),
    unnest((%(ids)b::uuid[])[kind.first:kind.last]) as event_id
on conflict do nothing;
