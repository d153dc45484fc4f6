-- existing_scheduled through a caller's own connection; only types that every driver gives alike.
select s.id::text, s.tenant_id, s.event_name, s.event_key, s.payload::text
from :"schema".scheduled as s
where s.id = any(array(select item.id::uuid from json_array_elements_text(cast(:ids as text)::json) as item(id)));
