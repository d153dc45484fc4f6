-- 0012 looking
-- Why:   looking at a large backlog is to be quick, lag is to be charted over time, and a replay whose process ended is to
--        go on where it was.
-- Phase: pre; workers of the previous release fill none of the columns.
-- Locks: access exclusive on samples and replays for the catalogue change alone.
-- Undo:  roll forward.

alter table :"schema".samples add column lag bigint, add column lag_seconds real;
comment on column :"schema".samples.lag is
    'Events that were not settled, in rows of their own that the first of the living workers writes for every subscription.';

alter table :"schema".replays add column position bigint not null default 0, add column until_position bigint,
    add column advanced_at timestamptz not null default clock_timestamp();
comment on column :"schema".replays.position is 'Up to here the log was handed over: from here on it is taken up again.';

-- What one subscription has still to see, of one tenant or of all, and when it last moved. Up to of_bound events beyond
-- its oldest cursor are counted. Where there are more, ten in each of a hundred places of all tell about how many of them
-- are not settled; by the golden section, the places fall in with no rhythm that the log may have. Cursors that only stand
-- idle do not count as movement.
-- A function, so that it is not compiled just in time, which takes longer than the answer. Receipts and delivery rows are
-- looked up one by one, by subqueries, and so are transactions that were under way: joined, or asked for as a list, the
-- planner may read all there are.
create function :"schema".backlog(of_subscription integer, of_bound integer, of_tenant text)
returns table (unsettled bigint, estimated boolean, waiting_since timestamptz, moved_at timestamptz)
language sql stable rows 1 set jit = off
begin atomic
    with slices as materialized (
        select c.partition, c.done, c.open, c.position, c.updated_at, s.regexes
        from :"schema".cursors as c join :"schema".subscriptions as s on s.id = c.subscription
        where c.subscription = of_subscription
    ), oldest as materialized (
        select done from slices order by pg_snapshot_xmax(done), pg_snapshot_xmin(done) limit 1
    ), ahead as materialized (
        (select e.txid, e.position, e.id, e.day, e.slot, e.tenant_id, e.event_name, e.occurred_at
        from :"schema".event_log as e
        where e.txid >= pg_snapshot_xmax((select done from oldest)) order by e.txid limit of_bound)
        union all
        (select late.*
        from pg_snapshot_xip((select done from oldest)) as running(txid) cross join lateral (
            select e.txid, e.position, e.id, e.day, e.slot, e.tenant_id, e.event_name, e.occurred_at
            from :"schema".event_log as e where e.txid = running.txid offset 0) as late
        limit of_bound)
    ), span as materialized (
        select count(*) >= of_bound as is_long, min(position) as low,
            case when count(*) >= of_bound then (select max(position) from :"schema".event_log) end as high
        from ahead
    ), looked as (
        select false as is_sample, * from ahead
        union all
        select true, place.*
        from span cross join generate_series(1, 100) as number cross join lateral (
            select e.txid, e.position, e.id, e.day, e.slot, e.tenant_id, e.event_name, e.occurred_at
            from :"schema".event_log as e
            where e.position >= span.low + ((span.high - span.low) * (number * 0.6180339887 % 1))::bigint
            order by e.position limit 10) as place
        where span.is_long
    ), judged as materialized (
        select e.is_sample, e.position, e.txid, e.tenant_id, e.occurred_at, slices.updated_at, (
                select r.processed_at from :"schema".receipts as r
                where r.event_id = e.id and r.day = e.day and r.subscription = of_subscription) as processed_at,
            exists (select from :"schema".deliveries as d
                where d.event_id = e.id and d.subscription = of_subscription) as is_parked
        from looked as e
        join slices on slices.partition = e.slot % (select s.partitions from :"schema".subscriptions as s where s.id = of_subscription)
        where not pg_visible_in_snapshot(e.txid, slices.done)
            and not (slices.open is not null and pg_visible_in_snapshot(e.txid, slices.open) and e.position < slices.position)
            and (of_tenant is null or e.tenant_id = of_tenant)
            and exists (select from unnest(slices.regexes) as regex where e.event_name ~ regex)
    ), waiting as materialized (
        select * from judged where processed_at is null and not is_parked
    ), first as (
        select position, txid, occurred_at from waiting
        where tenant_id <> all(array(
            select p.tenant_id from :"schema".paused_tenants as p where p.subscription = of_subscription))
        order by position limit 1
    )
    select case
            when not span.is_long then (select count(*) from waiting)
            else greatest((select count(*) from waiting where not is_sample), (span.high - span.low + 1)
                * (select count(*) from waiting where is_sample) / (select greatest(count(*), 1) from looked where is_sample))
        end,
        span.is_long,
        (select greatest(first.occurred_at, (
            -- The event's own time may be anything; it was stored after the newest snapshot that does not show it.
            select max(s.at) from :"schema".snapshots as s
            where s.at <= clock_timestamp() and not pg_visible_in_snapshot(first.txid, s.snap))) from first),
        greatest((select max(processed_at) from judged), (select max(updated_at) from waiting))
    from span;
end;
