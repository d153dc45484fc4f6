-- Events to deliver again in a part of the log: what the subscription's patterns match and its cursor, or a receipt,
-- says it is through with. Later ones reach it anyway. Those before its start are among them: no "interests" here.
select e.position, e.id
from event_log as e
join subscriptions as s on s.id = :subscription
join cursors as c on c.subscription = s.id
    and c.partition = holdfast_slot(cast(e.tenant_id as blob), cast(e.event_key as blob), cast(e.id as blob)) % s.partitions
where e.position > :after and e.position <= :until_position
    and exists (select 1 from json_each(s.patterns) as pattern where holdfast_matches(pattern.value, e.event_name))
    and (:event_id is null or e.id = :event_id)
    and (:name is null or holdfast_matches(:name, e.event_name))
    and (:tenant_id is null or e.tenant_id = :tenant_id)
    and (:key is null or e.event_key = :key)
    and (:since is null or e.occurred_at >= :since)
    and (:until is null or e.occurred_at < :until)
    and (e.position <= c.done
        or (c.open is not null and e.position <= c.open and e.position < c.position)
        or exists (select 1 from receipts as r where r.event_id = e.id and r.subscription = s.id))
order by e.position;
