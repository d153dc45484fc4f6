-- A replay's receipt takes the place of the one before.
insert into :"schema".receipts as r (day, subscription, event_id, attempts)
select date '2000-01-01' + %(day)s::integer, %(subscription)s, event_id, %(attempts)s
from unnest(%(ids)b::uuid[]) as event_id
on conflict (event_id, subscription, day)
do update set processed_at = clock_timestamp(), attempts = excluded.attempts;
