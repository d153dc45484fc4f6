-- Replays' receipts take the place of those before. As in settle_receipts; no event twice for one subscription.
insert into :"schema".receipts as r (day, subscription, event_id, attempts)
select date '2000-01-01' + kind.day, kind.subscription, event_id, kind.attempts
from unnest(%(days)s::integer[], %(subscriptions)s::integer[], %(attempts)s::integer[],
    %(firsts)s::integer[], %(lasts)s::integer[]) as kind(day, subscription, attempts, first, last),
    unnest((%(ids)b::uuid[])[kind.first:kind.last]) as event_id
on conflict (event_id, subscription, day)
do update set processed_at = clock_timestamp(), attempts = excluded.attempts;
