-- Per subscription: delivery rows by state, of one tenant or of all, partitions under a live lease, live workers.
-- A worker lives whose heartbeat is less than a minute old, or who owns a live lease (the lease time may be longer).
with living as (
    select w.subscriptions, w.tripped from :"schema".workers as w
    where not w.draining and (w.heartbeat_at > clock_timestamp() - interval '1 minute' or exists (
        select from :"schema".leases as l where l.owner = w.id and l.lease_until > clock_timestamp()))
)
select s.id, d.pending, d.retrying, d.running, d.dead, d.discarded,
    (select count(*) from :"schema".leases as l
        where l.subscription = s.id and l.owner is not null and l.lease_until > clock_timestamp()) as owned,
    (select count(*) from living where s.id = any(living.subscriptions)) as workers,
    (select count(*) from living where s.id = any(living.tripped)) as tripped
from :"schema".subscriptions as s
cross join lateral (
    select count(*) filter (where state = 'pending') as pending, count(*) filter (where state = 'retrying') as retrying,
        count(*) filter (where state = 'running') as running, count(*) filter (where state = 'dead') as dead,
        count(*) filter (where state = 'discarded') as discarded
    from :"schema".deliveries
    where subscription = s.id and (%(tenant_id)s::text is null or tenant_id = %(tenant_id)s::text)
) as d;
