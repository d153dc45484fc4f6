-- existing, of what waits for its time.
select s.id, s.tenant_id, s.event_name, s.event_key, s.payload from :"schema".scheduled as s where s.id = any(%(ids)s::uuid[]);
