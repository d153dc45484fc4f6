-- Keep events until they are due; their ids are locked and looked for already.
insert into :"schema".scheduled (id, due_at, occurred_at, tenant_id, event_name, event_key, payload, headers)
select e.id,
    timestamptz '2000-01-01 00:00:00Z' + e.due / 1000000 * interval '1 second' + e.due %% 1000000 * interval '1 microsecond',
    timestamptz '2000-01-01 00:00:00Z' + e.micros / 1000000 * interval '1 second'
        + e.micros %% 1000000 * interval '1 microsecond',
    e.tenant_id, e.event_name, e.event_key, e.payload::json, e.headers::json
from unnest(%(ids)b::uuid[], %(dues)b::bigint[], %(micros)b::bigint[], %(tenants)b::text[], %(names)b::text[],
    %(keys)b::text[], %(payloads)b::text[], %(headers)b::text[])
    with ordinality as e(id, due, micros, tenant_id, event_name, event_key, payload, headers, n)
order by e.n;
