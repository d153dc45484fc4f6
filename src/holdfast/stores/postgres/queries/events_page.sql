-- Events between two positions that a horizon shows and a filter means, in their order: as many as there is room for in so
-- many bytes, one at least. "matching" says how many there are in all.
with looked as materialized (
    select e.position, e.id, e.day, octet_length(e.payload::text) as size
    from :"schema".event_log as e
    where e.position > %(after)s::bigint and e.position <= %(until_position)s::bigint
        and pg_visible_in_snapshot(e.txid, %(horizon)s::pg_snapshot)
        and (%(regex)s::text is null or e.event_name ~ %(regex)s::text)
        and (%(tenant_id)s::text is null or e.tenant_id = %(tenant_id)s::text)
        and (%(key)s::text is null or e.event_key = %(key)s::text)
        and (%(since)s::timestamptz is null or e.occurred_at >= %(since)s::timestamptz)
        and (%(until)s::timestamptz is null or e.occurred_at < %(until)s::timestamptz)
), sized as materialized (
    select looked.*, count(*) over () as matching,
        sum(size) over (order by position) - sum(size) over (partition by position) as before
    from looked
)
select e.position, e.id, e.occurred_at, e.tenant_id, e.event_name, e.event_key, e.payload, e.headers, sized.matching
from sized join :"schema".event_log as e on e.id = sized.id and e.day = sized.day
where sized.before < %(max_bytes)s::bigint
order by e.position;
