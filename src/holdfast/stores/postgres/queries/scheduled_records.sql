select id, due_at, published_at, tenant_id, event_name, event_key, refused_at
from :"schema".scheduled
where %(tenant_id)s::text is null or tenant_id = %(tenant_id)s::text
order by due_at, number limit %(limit)s;
