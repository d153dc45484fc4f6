-- Asked where an insert stored fewer events than it was given; no row at all: this is another store.
select e.id, e.tenant_id, e.event_name, e.event_key, e.payload
from meta left join event_log as e on e.id in (select value from json_each(:ids))
where meta.store_id = :store_id;
