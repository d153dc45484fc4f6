-- Rows that were taken into hand.
select d.id, d.subscription, d.partition, d.claim, d.attempts, d.put_offs, d.replay is not null as is_replay,
    d.replay is null and exists (
        select 1 from receipts as r where r.event_id = d.event_id and r.subscription = d.subscription) as handled,
    0 as lost, 0 as behind,
    d.position, cast(d.event_id as blob), cast(coalesce(e.occurred_at, d.occurred_at) as blob),
    cast(d.tenant_id as blob), cast(d.event_name as blob), cast(d.event_key as blob),
    cast(coalesce(e.payload, d.payload) as blob), cast(coalesce(e.headers, d.headers) as blob)
from deliveries as d left join event_log as e on e.position = d.position
where d.id in (select value from json_each(:ids))
order by d.id;
