-- existing_within, of what waits for its time.
select s.id, s.tenant_id, s.event_name, s.event_key, s.payload
from scheduled as s where s.id in (select value from json_each(:ids))
    and exists (select 1 from meta where store_id = :store_id);
