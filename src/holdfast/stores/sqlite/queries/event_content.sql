-- One event from the log, else what a dead letter kept of it.
select e.id, e.tenant_id, e.event_name, e.event_key, e.occurred_at, e.payload, e.headers, 1 as in_log
from event_log as e where e.id = :event_id
union all
select * from (
    select d.event_id, d.tenant_id, d.event_name, d.event_key, d.occurred_at, d.payload, d.headers, 0
    from deliveries as d
    where d.event_id = :event_id and not exists (select 1 from event_log as e where e.id = :event_id)
    order by d.payload is null limit 1
);
