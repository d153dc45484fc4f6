-- Events of another store, in the order given.
insert into event_log (id, occurred_at, tenant_id, event_name, event_key, payload, headers)
select json_extract(e.value, '$.id'), json_extract(e.value, '$.occurred_at'), json_extract(e.value, '$.tenant_id'),
    json_extract(e.value, '$.name'), json_extract(e.value, '$.key'), json_extract(e.value, '$.payload'),
    json_extract(e.value, '$.headers')
from json_each(:events) as e
where true
order by e.key
on conflict (id) do nothing;
