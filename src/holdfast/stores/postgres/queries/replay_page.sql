-- Events to deliver again in a part of the log: what the subscription's patterns match and its cursor, or a receipt,
-- says it is through with. Later ones reach it anyway.
select e.position, e.id
from :"schema".event_log as e
join :"schema".subscriptions as s on s.id = %(subscription)s
join :"schema".cursors as c on c.subscription = s.id and c.partition = e.slot %% s.partitions
where e.position > %(after)s::bigint and e.position <= %(until_position)s::bigint
    and exists (select from unnest(s.regexes) as regex where e.event_name ~ regex)
    and (%(event_id)s::uuid is null or e.id = %(event_id)s::uuid)
    and (%(regex)s::text is null or e.event_name ~ %(regex)s::text)
    and (%(tenant_id)s::text is null or e.tenant_id = %(tenant_id)s::text)
    and (%(key)s::text is null or e.event_key = %(key)s::text)
    and (%(since)s::timestamptz is null or e.occurred_at >= %(since)s::timestamptz)
    and (%(until)s::timestamptz is null or e.occurred_at < %(until)s::timestamptz)
    and (pg_visible_in_snapshot(e.txid, c.done)
        or (c.open is not null and pg_visible_in_snapshot(e.txid, c.open) and e.position < c.position)
        or exists (select from :"schema".receipts as r
            where r.event_id = e.id and r.day = e.day and r.subscription = s.id))
order by e.position;
