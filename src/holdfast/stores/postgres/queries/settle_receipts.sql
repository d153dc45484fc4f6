insert into :"schema".receipts (day, subscription, event_id, attempts)
select date '2000-01-01' + %(day)s::integer, %(subscription)s, event_id, %(attempts)s
from unnest(%(ids)b::uuid[]) as event_id
on conflict do nothing;
