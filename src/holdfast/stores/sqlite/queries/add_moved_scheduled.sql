-- Of one that was moved before, when it is due may have been changed since.
insert into scheduled (id, due_at, published_at, occurred_at, tenant_id, event_name, event_key, payload, headers, refused_at)
select json_extract(s.value, '$.id'), json_extract(s.value, '$.due_at'), json_extract(s.value, '$.published_at'),
    json_extract(s.value, '$.occurred_at'), json_extract(s.value, '$.tenant_id'), json_extract(s.value, '$.name'),
    json_extract(s.value, '$.key'), json_extract(s.value, '$.payload'), json_extract(s.value, '$.headers'),
    json_extract(s.value, '$.refused_at')
from json_each(:scheduled) as s
where true
order by 2, 1
on conflict (id) do update set due_at = excluded.due_at, refused_at = excluded.refused_at;
