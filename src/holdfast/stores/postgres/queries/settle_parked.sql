-- Events leave the fast path, in the order given, which is the order of their keys. The payload stays in the log.
insert into :"schema".deliveries (subscription, partition, event_id, day, position, tenant_id, event_key, event_name,
    state, attempts, put_offs, due_at, reason)
select p.subscription, p.partition, p.event_id, date '2000-01-01' + p.day, p.position, p.tenant_id, p.event_key,
    p.event_name, p.state, p.attempts, p.put_offs, clock_timestamp() + make_interval(secs => p.due_in), p.reason
from unnest(%(subscriptions)s::integer[], %(partitions)s::integer[], %(ids)b::uuid[], %(days)s::integer[],
    %(positions)s::bigint[], %(tenants)s::text[], %(keys)s::text[], %(names)s::text[], %(states)s::text[],
    %(attempts)s::integer[], %(put_offs)s::integer[], %(due_in)s::float8[], %(reasons)s::text[])
    with ordinality as p(subscription, partition, event_id, day, position, tenant_id, event_key, event_name, state,
        attempts, put_offs, due_in, reason, n)
order by p.n
on conflict (subscription, event_id) do nothing;
