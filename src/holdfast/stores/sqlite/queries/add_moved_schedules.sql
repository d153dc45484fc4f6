-- One that the destination's program has declared already stands where it did in the source.
insert into schedules (name, rule, zone, missed, tenant_id, next_at, last_at, not_before, paused_at, paused_by, created_at,
    updated_at)
select json_extract(s.value, '$.name'), json_extract(s.value, '$.rule'), json_extract(s.value, '$.zone'),
    json_extract(s.value, '$.missed'), json_extract(s.value, '$.tenant_id'), json_extract(s.value, '$.next_at'),
    json_extract(s.value, '$.last_at'), json_extract(s.value, '$.not_before'), json_extract(s.value, '$.paused_at'),
    json_extract(s.value, '$.paused_by'), json_extract(s.value, '$.created_at'), json_extract(s.value, '$.created_at')
from json_each(:schedules) as s
where true
on conflict (name) do update set rule = excluded.rule, zone = excluded.zone, missed = excluded.missed,
    tenant_id = excluded.tenant_id, next_at = excluded.next_at, last_at = excluded.last_at,
    not_before = excluded.not_before, paused_at = excluded.paused_at, paused_by = excluded.paused_by,
    created_at = excluded.created_at;
