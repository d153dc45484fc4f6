-- Store one event whose id was made for it: the same as append_new, without arrays.
insert into :"schema".event_log (id, day, occurred_at, tenant_id, event_name, event_key, payload, headers)
values (%(id)b::uuid, :"schema".event_day(%(id)b::uuid),
    coalesce(timestamptz '2000-01-01 00:00:00Z' + %(micros)b::bigint / 1000000 * interval '1 second'
        + %(micros)b::bigint %% 1000000 * interval '1 microsecond', clock_timestamp()),
    %(tenant)b::text, %(name)b::text, %(key)b::text, %(payload)b::text::json, %(headers)b::text::json);
