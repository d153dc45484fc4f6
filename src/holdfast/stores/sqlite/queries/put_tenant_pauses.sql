insert into paused_tenants (subscription, tenant_id, paused_at, paused_by)
select s.id, json_extract(p.value, '$.tenant_id'), json_extract(p.value, '$.paused_at'), json_extract(p.value, '$.paused_by')
from json_each(:pauses) as p join subscriptions as s on s.name = json_extract(p.value, '$.subscription')
where true
on conflict (subscription, tenant_id) do update set paused_at = excluded.paused_at, paused_by = excluded.paused_by;
