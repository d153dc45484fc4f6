-- Which of some events wait for which subscriptions to come to them: beyond the cursor, without receipt and delivery row.
select e.id, s.name, e.tenant_id, e.event_key, e.event_name
from :"schema".event_log as e
join :"schema".subscriptions as s on :"schema".concerns(s, e.event_name, e.txid, e.position)
join :"schema".cursors as c on c.subscription = s.id and c.partition = e.slot %% s.partitions
where e.id = any(%(ids)s::uuid[])
    and not pg_visible_in_snapshot(e.txid, c.done)
    and not (c.open is not null and pg_visible_in_snapshot(e.txid, c.open) and e.position < c.position)
    and not exists (select from :"schema".receipts as r
        where r.event_id = e.id and r.day = e.day and r.subscription = s.id)
    and not exists (select from :"schema".deliveries as d where d.event_id = e.id and d.subscription = s.id)
order by e.position, s.name;
