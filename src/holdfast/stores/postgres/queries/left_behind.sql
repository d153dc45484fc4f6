-- Events of a part of a day that a subscription has not settled: its cursor has not passed them and they have no receipt,
-- or a delivery row of theirs waits. In a later round those only that the round before did not show.
select e.position, e.id, e.day, e.slot, e.occurred_at, e.tenant_id, e.event_name, e.event_key, e.payload, e.headers,
    d.id as delivery
from :"schema".let_go as g
join :"schema".subscriptions as s on s.id = g.subscription
join :"schema".event_log as e on e.day = g.day and e.position > %(after)s::bigint and e.position <= %(last)s::bigint
    and pg_visible_in_snapshot(e.txid, g.shown)
join :"schema".cursors as c on c.subscription = s.id and c.partition = e.slot %% s.partitions
left join :"schema".deliveries as d on d.event_id = e.id and d.subscription = s.id
where g.subscription = %(subscription)s::integer and g.day = %(day)s::date and e.day = %(day)s::date
    and case
        when d.id is not null then d.state in ('pending', 'retrying', 'running') and d.payload is null
        else :"schema".concerns(s, e.event_name, e.txid, e.position)
            and not pg_visible_in_snapshot(e.txid, c.done)
            and not (c.open is not null and pg_visible_in_snapshot(e.txid, c.open) and e.position < c.position)
            and (g.before is null or not pg_visible_in_snapshot(e.txid, g.before))
            and not exists (select from :"schema".receipts as r
                where r.event_id = e.id and r.day = e.day and r.subscription = s.id)
    end
order by e.position;
