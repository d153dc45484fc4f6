-- 0014 waiting
-- Why:   a tenant that is paused far back hid how long all others wait: what was counted ended before theirs began.
-- Phase: pre; a function that is read only, with the same parameters and results.
-- Locks: none that matter.
-- Undo:  roll forward.

-- What one subscription has still to see, of one tenant or of all, and when it last moved. Up to of_bound events beyond
-- its oldest cursor are counted. Where there are more, ten in each of a hundred places of all tell about how many of them
-- are not settled; by the golden section, the places fall in with no rhythm that the log may have. Cursors that only stand
-- idle do not count as movement. Where tenants are deferred, so many are looked at, too, from where the first of those
-- stands that are not paused: one of them has waited the longest.
-- A function, so that it is not compiled just in time, which takes longer than the answer. Receipts and delivery rows are
-- looked up one by one, by subqueries that say which, and so are transactions that were under way: joined, asked for as a
-- list or by "exists", the planner may read all there are.
create or replace function :"schema".backlog(of_subscription integer, of_bound integer, of_tenant text)
returns table (unsettled bigint, estimated boolean, waiting_since timestamptz, moved_at timestamptz)
language sql stable rows 1 set jit = off
begin atomic
    with slices as materialized (
        select c.partition, c.done, c.open, c.position, c.updated_at, s.regexes,
            -- How far each deferred tenant has got, and under '' all others; it holds with that cursor alone.
            case when (c.deferred -> 'cursor' ->> 0, c.deferred -> 'cursor' ->> 1, c.deferred -> 'cursor' ->> 2)
                    is not distinct from (c.done::text, c.open::text, c.position::text)
                then c.deferred -> 'places' end as places
        from :"schema".cursors as c join :"schema".subscriptions as s on s.id = c.subscription
        where c.subscription = of_subscription
    ), paused as materialized (
        select array(select p.tenant_id from :"schema".paused_tenants as p where p.subscription = of_subscription) as tenants
    ), oldest as materialized (
        select done from slices order by pg_snapshot_xmax(done), pg_snapshot_xmin(done) limit 1
    ), begun as materialized (
        select 'counted' as role, done from oldest
        union all
        select 'seen', first.done
        from (
            select coalesce((part.place ->> 0)::pg_snapshot, slices.done) as done
            from slices
            left join lateral json_each(slices.places) as part(tenant_id, place) on true
            where part.tenant_id is null or part.tenant_id <> all ((select tenants from paused)::text[])
            order by pg_snapshot_xmax(coalesce((part.place ->> 0)::pg_snapshot, slices.done)) limit 1
        ) as first
        where pg_snapshot_xmax(first.done) > pg_snapshot_xmax((select done from oldest))
    ), ahead as materialized (
        select begun.role, found.*
        from begun cross join lateral (
            (select e.txid, e.position, e.id, e.day, e.slot, e.tenant_id, e.event_name, e.occurred_at
            from :"schema".event_log as e where e.txid >= pg_snapshot_xmax(begun.done) order by e.txid limit of_bound)
            union all
            (select late.*
            from pg_snapshot_xip(begun.done) as running(txid) cross join lateral (
                select e.txid, e.position, e.id, e.day, e.slot, e.tenant_id, e.event_name, e.occurred_at
                from :"schema".event_log as e where e.txid = running.txid offset 0) as late
            limit of_bound)
        ) as found
    ), span as materialized (
        select count(*) >= of_bound as is_long, min(position) as low,
            case when count(*) >= of_bound then (select max(position) from :"schema".event_log) end as high
        from ahead where role = 'counted'
    ), looked as (
        select * from ahead
        union all
        select 'sampled', place.*
        from span cross join generate_series(1, 100) as number cross join lateral (
            select e.txid, e.position, e.id, e.day, e.slot, e.tenant_id, e.event_name, e.occurred_at
            from :"schema".event_log as e
            where e.position >= span.low + ((span.high - span.low) * (number * 0.6180339887 % 1))::bigint
            order by e.position limit 10) as place
        where span.is_long
    ), judged as materialized (
        select e.role, e.position, e.txid, e.tenant_id, e.occurred_at, slices.updated_at, (
                select r.processed_at from :"schema".receipts as r
                where r.event_id = e.id and r.day = e.day and r.subscription = of_subscription) as processed_at,
            (select d.id from :"schema".deliveries as d
                where d.event_id = e.id and d.subscription = of_subscription) is not null as is_parked
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
        where tenant_id <> all ((select tenants from paused)::text[])
        order by position limit 1
    )
    select case
            when not span.is_long then (select count(*) from waiting where role = 'counted')
            else greatest((select count(*) from waiting where role = 'counted'), (span.high - span.low + 1)
                * (select count(*) from waiting where role = 'sampled')
                / (select greatest(count(*), 1) from looked where role = 'sampled'))
        end,
        span.is_long,
        (select greatest(first.occurred_at, (
            -- The event's own time may be anything; it was stored after the newest snapshot that does not show it.
            select max(s.at) from :"schema".snapshots as s
            where s.at <= clock_timestamp() and not pg_visible_in_snapshot(first.txid, s.snap))) from first),
        greatest((select max(processed_at) from judged), (select max(updated_at) from waiting))
    from span;
end;
