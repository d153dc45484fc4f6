-- append_scheduled through a caller's own connection; see append_within.
with given as (
    select (e.item ->> 'id')::uuid as id, (e.item ->> 'due')::timestamptz as due_at,
        (e.item ->> 'at')::timestamptz as occurred_at, e.item ->> 'tenant' as tenant_id,
        e.item ->> 'name' as event_name, e.item ->> 'key' as event_key, e.item -> 'payload' as payload,
        case when json_typeof(e.item -> 'headers') = 'object' then e.item -> 'headers' end as headers, e.n
    from json_array_elements(cast(:events as text)::json) with ordinality as e(item, n)
), stored as (
    insert into :"schema".scheduled (id, due_at, occurred_at, tenant_id, event_name, event_key, payload, headers)
    select id, due_at, occurred_at, tenant_id, event_name, event_key, payload, headers
    from given where exists (select from :"schema".meta where store_id = cast(:store_id as text)::uuid)
    order by n
    returning id
)
select (select coalesce(json_agg(id), '[]') from stored)::text as stored,
    exists (select from :"schema".meta where store_id = cast(:store_id as text)::uuid) as right_store;
