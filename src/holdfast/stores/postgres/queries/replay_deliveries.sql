-- Hand a chunk to the workers, in the order of the log, of which only that part is read. Dead and discarded rows start afresh, unsettled ones stay.
insert into :"schema".deliveries as d (subscription, partition, event_id, day, position, tenant_id, event_key, event_name,
    state, replay)
select s.id, e.slot %% s.partitions, e.id, e.day, e.position, e.tenant_id, e.event_key, e.event_name, 'pending', %(replay)s
from :"schema".event_log as e join :"schema".subscriptions as s on s.id = %(subscription)s
where e.position between %(first)s::bigint and %(last)s::bigint and e.id = any(%(ids)s::uuid[])
order by e.position
on conflict (subscription, event_id) do update
    set state = 'pending', attempts = 0, put_offs = 0, due_at = clock_timestamp(), replay = excluded.replay,
        reason = null, updated_at = clock_timestamp()
    where d.state in ('dead', 'discarded')
returning d.id;
