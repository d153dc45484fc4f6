-- What one subscription has still to see, of one tenant or of all, and when it last moved. At most "bound"
-- events beyond its oldest cursor are looked at; the first number says how many those were. Cursors that only stand idle
-- do not count as movement.
with slices as materialized (
    select c.partition, c.done, c.open, c.position, c.updated_at, s.partitions, s.regexes
    from :"schema".cursors as c join :"schema".subscriptions as s on s.id = c.subscription
    where c.subscription = %(subscription)s
), oldest as materialized (
    select done from slices order by pg_snapshot_xmax(done), pg_snapshot_xmin(done) limit 1
), ahead as materialized (
    (select e.txid, e.position, e.id, e.day, e.slot, e.tenant_id, e.event_name, e.occurred_at from :"schema".event_log as e
    where e.txid >= pg_snapshot_xmax((select done from oldest)) order by e.txid limit %(bound)s)
    union all
    (select e.txid, e.position, e.id, e.day, e.slot, e.tenant_id, e.event_name, e.occurred_at from :"schema".event_log as e
    where e.txid = any(array(select pg_snapshot_xip((select done from oldest)))) limit %(bound)s)
), judged as materialized (
    select e.position, e.txid, e.occurred_at, slices.updated_at, r.processed_at,
        r.event_id is null and d.id is null as unsettled
    from ahead as e
    join slices on slices.partition = e.slot %% slices.partitions
    left join :"schema".receipts as r
        on r.event_id = e.id and r.day = e.day and r.subscription = %(subscription)s
    left join :"schema".deliveries as d on d.event_id = e.id and d.subscription = %(subscription)s
    where not pg_visible_in_snapshot(e.txid, slices.done)
        and not (slices.open is not null and pg_visible_in_snapshot(e.txid, slices.open) and e.position < slices.position)
        and (%(tenant_id)s::text is null or e.tenant_id = %(tenant_id)s::text)
        and exists (select from unnest(slices.regexes) as regex where e.event_name ~ regex)
), first as (
    select position, txid, occurred_at from judged where unsettled order by position limit 1
)
select (select count(*) from ahead) as seen, (select count(*) from judged where unsettled) as backlog,
    (select greatest(first.occurred_at, (
        -- The event's own time may be anything; it was stored after the newest snapshot that does not show it.
        select max(s.at) from :"schema".snapshots as s
        where s.at <= clock_timestamp() and not pg_visible_in_snapshot(first.txid, s.snap))) from first) as waiting_since,
    greatest((select max(processed_at) from judged), (select max(updated_at) from judged where unsettled)) as moved_at;
