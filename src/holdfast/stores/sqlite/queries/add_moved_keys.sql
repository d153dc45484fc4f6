insert into subject_keys (id, tenant_id, event_key, master, wrapped, created_at, retired_at)
select json_extract(k.value, '$.id'), json_extract(k.value, '$.tenant_id'), json_extract(k.value, '$.key'),
    json_extract(k.value, '$.master'), json_extract(k.value, '$.wrapped'), json_extract(k.value, '$.created_at'),
    json_extract(k.value, '$.retired_at')
from json_each(:keys) as k
where true
on conflict do nothing;
