-- Archived events wait again, each in a row that has its content. A row that says it was let go of starts afresh.
insert into :"schema".deliveries as d (subscription, partition, event_id, day, position, tenant_id, event_key, event_name,
    state, payload, headers, occurred_at)
select s.id, :"schema".slot_of(given.tenant_id, given.key, given.id) %% s.partitions, given.id,
    :"schema".event_day(given.id), given.position, given.tenant_id, given.key, given.name, 'pending',
    given.payload::json, given.headers::json, given.occurred_at
from :"schema".subscriptions as s
cross join rows from (json_to_recordset(%(events)s::text::json) as (id uuid, name text, tenant_id text, key text,
    position bigint, occurred_at timestamptz, payload text, headers text)) with ordinality
    as given(id, name, tenant_id, key, position, occurred_at, payload, headers, n)
where s.id = %(subscription)s::integer
order by given.n
on conflict (subscription, event_id) do update
    set state = 'pending', attempts = 0, put_offs = 0, due_at = clock_timestamp(), reason = null, day = excluded.day,
        payload = excluded.payload, headers = excluded.headers, occurred_at = excluded.occurred_at,
        updated_at = clock_timestamp()
    where d.state = 'discarded'
returning d.id;
