-- Keep new data keys, but for subjects that have one. In one order for all, or two who meet would wait for each other.
insert into :"schema".subject_keys (id, tenant_id, event_key, master, wrapped)
select item.id, item.tenant_id, item.event_key, item.master, item.wrapped
from json_to_recordset(%(keys)s::text::json) as item(id uuid, tenant_id text, event_key text, master text, wrapped text)
order by item.tenant_id, item.event_key
on conflict do nothing;
