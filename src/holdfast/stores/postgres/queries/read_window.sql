-- One page of a large window, by position. First row as in read_new, but for the horizon, which is given.
with page as materialized (
    select e.* from :"schema".event_log as e
    where e.position >= %(position)s and e.day >= %(floor)s::date
        and (e.txid >= pg_snapshot_xmax(%(done)s::pg_snapshot)
            or e.txid = any(array(select pg_snapshot_xip(%(done)s::pg_snapshot))))
        and pg_visible_in_snapshot(e.txid, %(open)s::pg_snapshot)
    order by e.position limit %(limit)s
), sized as (
    select e.*, sum(pg_column_size(e.payload)) over (order by e.position) - pg_column_size(e.payload) as bytes_before
    from page as e
)
select null::bigint as position, null::uuid as id, null::date as day, (select count(*) from page)::integer as slot,
    null::timestamptz as occurred_at, %(open)s::pg_snapshot::text as tenant_id,
    (select i.id::text from :"schema".incarnation as i) as event_name,
    case when pg_current_xact_id_if_assigned() is null and not pg_is_in_recovery()
        then (select generation from :"schema".meta)::text end as event_key,
    null::json as payload, null::json as headers
union all
select e.position, e.id, e.day, e.slot, e.occurred_at, e.tenant_id, e.event_name, e.event_key, e.payload, e.headers
from sized as e where e.bytes_before <= %(max_bytes)s
order by position nulls first;
