-- Archived events wait again, each in a row that has its content. A row that says it was let go of starts afresh. Of events
-- that the log still has, neither those that the subscription has a receipt for nor those that it comes to by itself.
insert into :"schema".deliveries as d (subscription, partition, event_id, day, position, tenant_id, event_key, event_name,
    state, payload, headers, occurred_at)
select s.id, :"schema".slot_of(given.tenant_id, given.key, given.id) %% s.partitions, given.id,
    coalesce(e.day, :"schema".event_day(given.id)), coalesce(e.position, 0), given.tenant_id, given.key, given.name, 'pending',
    given.payload::json, given.headers::json, given.occurred_at
from :"schema".subscriptions as s
cross join rows from (json_to_recordset(%(events)s::text::json) as (id uuid, name text, tenant_id text, key text,
    occurred_at timestamptz, payload text, headers text)) with ordinality
    as given(id, name, tenant_id, key, occurred_at, payload, headers, n)
left join :"schema".event_log as e on e.id = given.id
left join :"schema".cursors as c on c.subscription = s.id and c.partition = e.slot %% s.partitions
where s.id = %(subscription)s::integer
    and (e.id is null or (
        (not :"schema".concerns(s, e.event_name, e.txid, e.position) or pg_visible_in_snapshot(e.txid, c.done)
            or c.open is not null and pg_visible_in_snapshot(e.txid, c.open) and e.position < c.position
            or exists (select from :"schema".deliveries as p where p.event_id = e.id and p.subscription = s.id))
        and not exists (select from :"schema".receipts as r
            where r.event_id = e.id and r.day = e.day and r.subscription = s.id)))
order by given.n
on conflict (subscription, event_id) do update
    set state = 'pending', attempts = 0, put_offs = 0, due_at = clock_timestamp(), reason = null, day = excluded.day,
        payload = excluded.payload, headers = excluded.headers, occurred_at = excluded.occurred_at,
        updated_at = clock_timestamp()
    where d.state = 'discarded'
returning d.id;
