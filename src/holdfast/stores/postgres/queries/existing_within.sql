-- existing through a caller's own connection; only types that every driver gives alike.
select e.id::text, e.tenant_id, e.event_name, e.event_key, e.payload::text
from :"schema".event_log as e
where e.id = any(array(select item.id::uuid from json_array_elements_text(cast(:ids as text)::json) as item(id)));
