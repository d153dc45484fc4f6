-- Per subscription: delivery rows by state, of one tenant or of all, partitions under a live lease, live workers.
-- A worker lives whose heartbeat is less than a minute old, or who owns a live lease (the lease time may be longer).
with living as (
    select w.subscriptions, w.tripped from workers as w
    where not w.draining and (w.heartbeat_at > :minute_ago or exists (
        select 1 from leases as l where l.owner = w.id and l.lease_until > :now))
)
select s.id, count(case when d.state = 'pending' then 1 end), count(case when d.state = 'retrying' then 1 end),
    count(case when d.state = 'running' then 1 end), count(case when d.state = 'dead' then 1 end),
    count(case when d.state = 'discarded' then 1 end),
    (select count(*) from leases as l where l.subscription = s.id and l.owner is not null and l.lease_until > :now) as owned,
    (select count(*) from living where s.id in (select value from json_each(living.subscriptions))) as workers,
    (select count(*) from living where s.id in (select value from json_each(living.tripped))) as tripped
from subscriptions as s left join deliveries as d
    on d.subscription = s.id and (:tenant_id is null or d.tenant_id = :tenant_id)
group by s.id;
