-- Which of some events wait for which subscriptions to come to them: beyond the cursor, without receipt and delivery row.
select e.id, s.name, cast(e.tenant_id as blob) as tenant_id, cast(e.event_key as blob) as event_key,
    cast(e.event_name as blob) as event_name
from event_log as e
cross join subscriptions as s
cross join cursors as c on c.subscription = s.id
    and c.partition = holdfast_slot(cast(e.tenant_id as blob), cast(e.event_key as blob), cast(e.id as blob)) % s.partitions
where e.id in (select value from json_each(:ids))
    and (e.position > s.start_horizon or e.position >= s.start_position)
    and exists (select 1 from json_each(s.patterns) as pattern where holdfast_matches(pattern.value, e.event_name))
    and e.position > c.done and not (c.open is not null and e.position <= c.open and e.position < c.position)
    and not exists (select 1 from receipts as r where r.event_id = e.id and r.subscription = s.id)
    and not exists (select 1 from deliveries as d where d.event_id = e.id and d.subscription = s.id)
order by e.position, s.name;
