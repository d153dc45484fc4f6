-- One page of a large window, by position. First row as in read_new, but for the horizon, which is given.
with page as materialized (
    select e.* from :"schema".event_log as e
    where e.position between %(position)s and %(last)s and e.day >= %(floor)s::date
        and (e.txid >= pg_snapshot_xmax(%(done)s::pg_snapshot)
            or e.txid = any(array(select pg_snapshot_xip(%(done)s::pg_snapshot))))
        and pg_visible_in_snapshot(e.txid, %(open)s::pg_snapshot)
        and (%(without)s::text[] is null or e.tenant_id <> all(%(without)s::text[]))
    order by e.position limit %(limit)s
), total as materialized (
    -- What the reader will hold. On disk a payload may be compressed.
    select coalesce(sum(
        case when pg_column_compression(e.payload) is null then pg_column_size(e.payload)
            else octet_length(e.payload::text) end), 0) <= %(max_bytes)s as fits
    from page as e
), sized as (
    -- Asked only where it does not fit: sums for each row cost as much as all else.
    select e.*, sum(octet_length(e.payload::text)) over (order by e.position) - octet_length(e.payload::text) as bytes_before
    from page as e
)
select null::bigint as position, null::uuid as id, (clock_timestamp() at time zone 'UTC')::date as day, (select count(*) from page)::integer as slot,
    null::timestamptz as occurred_at, %(open)s::pg_snapshot::text as tenant_id,
    (select i.id::text from :"schema".incarnation as i) as event_name,
    case when pg_current_xact_id_if_assigned() is null and not pg_is_in_recovery()
        and not row_security_active(':"schema".event_log')
        then (select generation from :"schema".meta)::text end as event_key,
    null::json as payload, null::json as headers
union all
select e.position, e.id, e.day, e.slot, e.occurred_at, e.tenant_id, e.event_name, e.event_key, e.payload, e.headers
from page as e where (select fits from total)
union all
select e.position, e.id, e.day, e.slot, e.occurred_at, e.tenant_id, e.event_name, e.event_key, e.payload, e.headers
from sized as e where not (select fits from total) and e.bytes_before <= %(max_bytes)s
order by position nulls first;
