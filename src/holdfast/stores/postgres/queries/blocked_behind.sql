-- The first delivery of each key that others wait behind, and how many do.
select s.name, d.tenant_id, d.event_key, d.event_id, d.event_name, d.state, d.reason, d.due_at, behind.held
from :"schema".deliveries as d
join :"schema".subscriptions as s on s.id = d.subscription
cross join lateral (
    select count(*) as held from :"schema".deliveries as b
    where b.subscription = d.subscription and b.tenant_id = d.tenant_id and b.event_key = d.event_key and b.id > d.id
        and b.state in ('pending', 'retrying', 'running')
) as behind
where s.ordering = 'key' and d.event_key is not null and behind.held > 0
    and (d.state in ('pending', 'retrying', 'running') or d.state = 'dead' and s.on_dead = 'hold')
    and not exists (
        select from :"schema".deliveries as before
        where before.subscription = d.subscription and before.tenant_id = d.tenant_id
            and before.event_key = d.event_key and before.id < d.id
            and (before.state in ('pending', 'retrying', 'running') or before.state = 'dead' and s.on_dead = 'hold'))
    and (%(subscription)s::text is null or s.name = %(subscription)s::text)
    and (%(event_id)s::uuid is null or d.event_id = %(event_id)s::uuid)
    and (%(regex)s::text is null or d.event_name ~ %(regex)s::text)
    and (%(tenant_id)s::text is null or d.tenant_id = %(tenant_id)s::text)
    and (%(key)s::text is null or d.event_key = %(key)s::text)
order by behind.held desc, d.id limit %(limit)s;
