-- Archived events wait again, each in a row that has its content. A row that says it was let go of starts afresh. Of events
-- that the log still has, neither those that the subscription has a receipt for nor those that it comes to by itself.
-- No event has the position 0: the one that it had is another event's, where the file comes from another store.
insert into deliveries as d (subscription, partition, event_id, position, tenant_id, event_key, event_name, state, due_at,
    created_at, updated_at, payload, headers, occurred_at)
select s.id, given.slot % s.partitions, given.id, coalesce(e.position, 0), given.tenant_id, given.key, given.name, 'pending',
    :now, :now, :now, given.payload, given.headers, given.occurred_at
from subscriptions as s cross join (
    select g.key as n, json_extract(g.value, '$.id') as id, json_extract(g.value, '$.name') as name,
        json_extract(g.value, '$.tenant_id') as tenant_id, json_extract(g.value, '$.key') as key,
        json_extract(g.value, '$.occurred_at') as occurred_at, json_extract(g.value, '$.payload') as payload,
        json_extract(g.value, '$.headers') as headers,
        holdfast_slot(cast(json_extract(g.value, '$.tenant_id') as blob), cast(json_extract(g.value, '$.key') as blob),
            cast(json_extract(g.value, '$.id') as blob)) as slot
    from json_each(:events) as g
) as given
left join event_log as e on e.id = given.id
left join cursors as c on c.subscription = s.id and c.partition = given.slot % s.partitions
where s.id = :subscription
    and (e.id is null or (
        (e.position <= c.done or (e.position <= s.start_horizon and e.position < s.start_position)
            or not exists (select 1 from json_each(s.patterns) as pattern where holdfast_matches(pattern.value, e.event_name))
            or (c.open is not null and e.position <= c.open and e.position < c.position)
            or exists (select 1 from deliveries as p where p.event_id = e.id and p.subscription = s.id))
        and not exists (select 1 from receipts as r where r.event_id = e.id and r.subscription = s.id)))
order by given.n
on conflict (subscription, event_id) do update
    set state = 'pending', attempts = 0, put_offs = 0, due_at = excluded.due_at, reason = null, payload = excluded.payload,
        headers = excluded.headers, occurred_at = excluded.occurred_at, updated_at = excluded.updated_at
    where d.state = 'discarded'
returning id;
