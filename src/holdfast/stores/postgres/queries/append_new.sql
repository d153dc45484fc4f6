-- Store events whose ids were made for them, in the order given: as append, which looks in the index for each id before it
-- stores the event under it.
insert into :"schema".event_log (id, day, occurred_at, tenant_id, event_name, event_key, payload, headers)
select e.id, :"schema".event_day(e.id),
    coalesce(timestamptz '2000-01-01 00:00:00Z' + e.micros / 1000000 * interval '1 second'
        + e.micros %% 1000000 * interval '1 microsecond', clock_timestamp()),
    e.tenant_id, e.event_name, e.event_key, e.payload::json, e.headers::json
from unnest(%(ids)b::uuid[], %(micros)b::bigint[], %(tenants)b::text[], %(names)b::text[], %(keys)b::text[],
    %(payloads)b::text[], %(headers)b::text[])
    with ordinality as e(id, micros, tenant_id, event_name, event_key, payload, headers, n)
order by e.n;
