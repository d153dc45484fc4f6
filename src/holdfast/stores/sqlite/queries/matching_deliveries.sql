-- Ids of delivery rows that a filter means, the latest first.
select d.id
from deliveries as d
join subscriptions as s on s.id = d.subscription
where (d.state = 'dead' or :held and d.state in ('pending', 'retrying'))
    and (:before is null or d.id < :before)
    and (:subscription is null or s.name = :subscription)
    and (:event_id is null or d.event_id = :event_id)
    and (:name is null or holdfast_matches(:name, d.event_name))
    and (:tenant_id is null or d.tenant_id = :tenant_id)
    and (:key is null or d.event_key = :key)
    and (:since is null or d.updated_at >= :since)
    and (:until is null or d.updated_at < :until)
    and (:error is null or instr(lower(coalesce(d.reason, '')), lower(:error)) > 0 or exists (
        select 1 from attempts as a
        where a.id = (select max(id) from attempts where event_id = d.event_id and subscription = d.subscription)
            and instr(lower(a.error || ' ' || a.message), lower(:error)) > 0))
order by d.id desc limit coalesce(:limit, -1);
