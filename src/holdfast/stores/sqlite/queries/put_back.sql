-- Archived events wait again, each in a row that has its content. A row that says it was let go of starts afresh.
insert into deliveries as d (subscription, partition, event_id, position, tenant_id, event_key, event_name, state, due_at,
    created_at, updated_at, payload, headers, occurred_at)
select s.id, holdfast_slot(cast(given.tenant_id as blob), cast(given.key as blob), cast(given.id as blob)) % s.partitions,
    given.id, given.position, given.tenant_id, given.key, given.name, 'pending', :now, :now, :now, given.payload,
    given.headers, given.occurred_at
from subscriptions as s cross join (
    select e.key as n, json_extract(e.value, '$.id') as id, json_extract(e.value, '$.name') as name,
        json_extract(e.value, '$.tenant_id') as tenant_id, json_extract(e.value, '$.key') as key,
        json_extract(e.value, '$.position') as position, json_extract(e.value, '$.occurred_at') as occurred_at,
        json_extract(e.value, '$.payload') as payload, json_extract(e.value, '$.headers') as headers
    from json_each(:events) as e
) as given
where s.id = :subscription
order by given.n
on conflict (subscription, event_id) do update
    set state = 'pending', attempts = 0, put_offs = 0, due_at = excluded.due_at, reason = null, payload = excluded.payload,
        headers = excluded.headers, occurred_at = excluded.occurred_at, updated_at = excluded.updated_at
    where d.state = 'discarded'
returning id;
