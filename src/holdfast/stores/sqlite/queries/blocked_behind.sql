-- The first delivery of each key that others wait behind, and how many do.
select name, tenant_id, event_key, event_id, event_name, state, reason, due_at, held
from (
    select s.name, d.tenant_id, d.event_key, d.event_id, d.event_name, d.state, d.reason, d.due_at, d.id, (
        select count(*) from deliveries as b
        where b.subscription = d.subscription and b.tenant_id = d.tenant_id and b.event_key = d.event_key
            and b.id > d.id and b.state in ('pending', 'retrying', 'running')) as held
    from deliveries as d
    join subscriptions as s on s.id = d.subscription
    where s.ordering = 'key' and d.event_key is not null
        and (d.state in ('pending', 'retrying', 'running') or d.state = 'dead' and s.on_dead = 'hold')
        and not exists (
            select 1 from deliveries as before
            where before.subscription = d.subscription and before.tenant_id = d.tenant_id
                and before.event_key = d.event_key and before.id < d.id
                and (before.state in ('pending', 'retrying', 'running') or before.state = 'dead' and s.on_dead = 'hold'))
        and (:subscription is null or s.name = :subscription)
        and (:event_id is null or d.event_id = :event_id)
        and (:name is null or holdfast_matches(:name, d.event_name))
        and (:tenant_id is null or d.tenant_id = :tenant_id)
        and (:key is null or d.event_key = :key)
) as first
where held > 0
order by held desc, id limit :limit;
