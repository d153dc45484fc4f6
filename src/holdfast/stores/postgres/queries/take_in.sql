-- Recovery: these events are in hand from now on; a crash leaves them as suspects. In the order given.
-- Rows that are "running" already are given again: the answer to the first call may have been lost.
insert into :"schema".deliveries as d (subscription, partition, event_id, day, position, tenant_id, event_key, event_name, state, claim)
select %(subscription)s, %(partition)s, e.id, e.day, e.position, e.tenant_id, e.event_key, e.event_name, 'running', 1
from unnest(%(ids)b::uuid[], %(days)b::integer[]) with ordinality as given(id, day, n)
join :"schema".event_log as e on e.id = given.id and e.day = date '2000-01-01' + given.day
order by given.n
on conflict (subscription, event_id) do update set updated_at = clock_timestamp() where d.state = 'running'
returning d.event_id, d.id, d.claim, exists (
    select from :"schema".receipts as r
    where r.event_id = d.event_id and r.day = d.day and r.subscription = d.subscription) as handled;
