-- Events of a part of the log that a subscription has not settled: its cursor has not passed them and they have no receipt,
-- or a delivery row of theirs waits. Texts as bytes: what is not UTF-8 must not stop the reader.
select e.position, cast(e.id as blob), cast(e.occurred_at as blob), cast(e.tenant_id as blob), cast(e.event_name as blob),
    cast(e.event_key as blob), cast(e.payload as blob), cast(e.headers as blob), d.id as delivery
from event_log as e
cross join subscriptions as s on s.id = :subscription
cross join cursors as c on c.subscription = s.id
    and c.partition = holdfast_slot(cast(e.tenant_id as blob), cast(e.event_key as blob), cast(e.id as blob)) % s.partitions
left join deliveries as d on d.position = e.position and d.subscription = s.id
where e.position > :after and e.position <= :last
    and case
        when d.id is not null then d.state in ('pending', 'retrying', 'running') and d.payload is null
        else (e.position > s.start_horizon or e.position >= s.start_position)
            and exists (select 1 from json_each(s.patterns) as pattern where holdfast_matches(pattern.value, e.event_name))
            and e.position > c.done and not (c.open is not null and e.position <= c.open and e.position < c.position)
            and not exists (select 1 from receipts as r where r.event_id = e.id and r.subscription = s.id)
    end
order by e.position;
