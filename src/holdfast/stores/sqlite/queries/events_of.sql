-- Events by their ids, in the order of the log.
select e.position, e.id, e.occurred_at, cast(e.tenant_id as blob) as tenant_id, cast(e.event_name as blob) as event_name,
    cast(e.event_key as blob) as event_key, cast(e.payload as blob) as payload, cast(e.headers as blob) as headers
from event_log as e where e.id in (select value from json_each(:ids)) order by e.position;
