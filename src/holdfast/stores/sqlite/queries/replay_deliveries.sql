-- Hand a chunk to the workers, in the order of the log, of which only that part is read. Dead and discarded rows start afresh, unsettled ones stay.
insert into deliveries as d (subscription, partition, event_id, position, tenant_id, event_key, event_name,
    state, due_at, replay, created_at, updated_at)
select s.id, holdfast_slot(cast(e.tenant_id as blob), cast(e.event_key as blob), cast(e.id as blob)) % s.partitions, e.id, e.position, e.tenant_id, e.event_key,
    e.event_name, 'pending', :now, :replay, :now, :now
from event_log as e join subscriptions as s on s.id = :subscription
where e.position between :first and :last and e.id in (select value from json_each(:ids))
order by e.position
on conflict (subscription, event_id) do update
    set state = 'pending', attempts = 0, put_offs = 0, due_at = excluded.due_at, replay = excluded.replay,
        reason = null, updated_at = excluded.updated_at
    where d.state in ('dead', 'discarded')
returning id;
