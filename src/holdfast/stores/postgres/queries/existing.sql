-- Events that are stored under these ids, to tell a repeat from a conflict.
select e.id, e.tenant_id, e.event_name, e.event_key, e.payload from :"schema".event_log as e where e.id = any(%(ids)s::uuid[]);
