-- Take leases that are nobody's, a dead process's, or, unless patient, expired or impossibly far ahead (the clock stepped
-- back).
-- "for update" conflicts with the key-share locks of settlers: whoever settles under the old epoch is through, or
-- will find the new one. Materialized, so that "limit" and "skip locked" cannot be planned apart.
with wanted as (
    select * from unnest(%(subscriptions)s::integer[], %(counts)s::integer[]) as w(subscription, count)
), taken as materialized (
    select free.* from wanted cross join lateral (
        select l.subscription, l.partition, l.owner, l.clean
        from :"schema".leases as l
        where l.subscription = wanted.subscription and (l.owner is null or l.owner = any(%(dead)s::uuid[])
            or not %(patient)s and (l.lease_until <= clock_timestamp()
                or l.lease_until > clock_timestamp() + make_interval(secs => 2 * l.ttl)))
        order by l.partition limit wanted.count
        for update skip locked
    ) as free
)
update :"schema".leases as l set owner = %(worker)s, epoch = l.epoch + 1, clean = false,
    lease_until = clock_timestamp() + make_interval(secs => %(ttl)s), ttl = %(ttl)s,
    crashes = l.crashes + (taken.owner is not null)::integer
from taken where l.subscription = taken.subscription and l.partition = taken.partition
returning l.subscription, l.partition, l.epoch, taken.clean, taken.owner is not null as lost, l.crashes;
