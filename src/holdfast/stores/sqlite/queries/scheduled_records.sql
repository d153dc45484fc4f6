select id, due_at, published_at, tenant_id, event_name, event_key, refused_at
from scheduled where :tenant_id is null or tenant_id = :tenant_id
order by due_at, number limit :limit;
