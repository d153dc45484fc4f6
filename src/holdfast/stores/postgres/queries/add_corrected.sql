-- Store one event.
insert into :"schema".event_log (id, day, tenant_id, event_name, event_key, payload, headers)
values (%(id)s::uuid, :"schema".event_day(%(id)s::uuid), %(tenant_id)s::text, %(name)s::text, %(key)s::text,
    %(payload)s::text::json, %(headers)s::text::json);
