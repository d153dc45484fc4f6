-- What cursors have not come to, of this store's own, waits in rows: the cursors are about to pass what is moved in behind it.
insert into deliveries (id, subscription, partition, event_id, position, tenant_id, event_key, event_name, state, due_at,
    created_at, updated_at)
select max(:highest, (select coalesce(max(id), 0) from deliveries)) + row_number() over (order by e.position, s.id), s.id,
    c.partition, e.id, e.position, e.tenant_id, e.event_key, e.event_name, 'pending', :now, :now, :now
from event_log as e
cross join subscriptions as s
cross join cursors as c on c.subscription = s.id
    and c.partition = holdfast_slot(cast(e.tenant_id as blob), cast(e.event_key as blob), cast(e.id as blob)) % s.partitions
where e.position > (select min(done) from cursors)
    and (e.position > s.start_horizon or e.position >= s.start_position)
    and exists (select 1 from json_each(s.patterns) as pattern where holdfast_matches(pattern.value, e.event_name))
    and e.position > c.done and not (c.open is not null and e.position <= c.open and e.position < c.position)
    and not exists (select 1 from receipts as r where r.event_id = e.id and r.subscription = s.id)
on conflict (subscription, event_id) do nothing;
