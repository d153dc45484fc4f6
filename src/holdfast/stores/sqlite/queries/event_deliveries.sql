-- One row per subscription that the event concerns. What its cursor has passed without a trace was not its own then.
select s.name, coalesce(d.state, case when r.event_id is null then 'pending' else 'processed' end) as state,
    coalesce(d.attempts, r.attempts, 0) as attempts, coalesce(d.put_offs, 0) as put_offs,
    case when d.state in ('pending', 'retrying') then d.due_at end as next_try_at, r.processed_at, d.reason,
    d.replay is not null as is_replay, case when d.state = 'pending' and s.ordering = 'key' then (
        select before.event_id from deliveries as before
        where before.subscription = d.subscription and before.tenant_id = d.tenant_id
            and before.event_key = d.event_key and before.id < d.id
            and (before.state in ('pending', 'retrying', 'running') or before.state = 'dead' and s.on_dead = 'hold')
        order by before.id limit 1
    ) end as held_behind, s.paused_at is not null as paused
from subscriptions as s
left join event_log as e on e.id = :event_id
left join deliveries as d on d.subscription = s.id and d.event_id = :event_id
left join receipts as r on r.subscription = s.id and r.event_id = :event_id
left join cursors as c on c.subscription = s.id
    and c.partition = holdfast_slot(cast(e.tenant_id as blob), cast(e.event_key as blob), cast(e.id as blob)) % s.partitions
where d.id is not null or r.event_id is not null
    or (e.position > c.done and not (c.open is not null and e.position <= c.open and e.position < c.position)
        and exists (select 1 from interests as i where i.position = e.position and i.subscription = s.id))
order by s.name;
