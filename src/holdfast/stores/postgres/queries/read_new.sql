-- Open a window to what can be seen now, and read it whole if it is small. First row: the horizon, the server's day and
-- incarnation, the generation, how many events the probe met, and whether the snapshot can be trusted at all.
-- Each branch is a range of transaction ids in their order, which only their index has. Asked for equal ones, the planner
-- expects so many rows in a log of large transactions that it scans the whole table, at each poll.
with probe as materialized (
    (select e.* from :"schema".event_log as e
    where e.txid >= pg_snapshot_xmax(%(done)s::pg_snapshot) and e.day >= %(floor)s::date
    order by e.txid limit %(limit)s + 1)
    union all
    (select late.* from pg_snapshot_xip(%(done)s::pg_snapshot) as running(txid), lateral (
        select e.* from :"schema".event_log as e
        where e.txid between running.txid and running.txid and e.day >= %(floor)s::date
        order by e.txid limit %(limit)s + 1) as late
    limit %(limit)s + 1)
), total as materialized (
    -- What the reader will hold. On disk a payload may be compressed.
    select coalesce(sum(
        case when pg_column_compression(e.payload) is null then pg_column_size(e.payload)
            else octet_length(e.payload::text) end), 0) <= %(max_bytes)s as fits
    from probe as e
), sized as (
    -- Asked only where it does not fit: sums for each row cost as much as all else.
    select e.*, sum(octet_length(e.payload::text)) over (order by e.position) - octet_length(e.payload::text) as bytes_before
    from probe as e
)
select null::bigint as position, null::uuid as id, (clock_timestamp() at time zone 'UTC')::date as day, (select count(*) from probe)::integer as slot,
    null::timestamptz as occurred_at, pg_current_snapshot()::text as tenant_id,
    (select i.id::text from :"schema".incarnation as i) as event_name,
    case when pg_current_xact_id_if_assigned() is null and not pg_is_in_recovery()
        and not row_security_active(':"schema".event_log')
        then (select generation from :"schema".meta)::text end as event_key,
    null::json as payload, null::json as headers
union all
select e.position, e.id, e.day, e.slot, e.occurred_at, e.tenant_id, e.event_name, e.event_key, e.payload, e.headers
from probe as e where (select fits from total)
union all
select e.position, e.id, e.day, e.slot, e.occurred_at, e.tenant_id, e.event_name, e.event_key, e.payload, e.headers
from sized as e where not (select fits from total) and e.bytes_before <= %(max_bytes)s
order by position nulls first;
