-- What one subscription has still to see, of one tenant or of all, and when it last moved. Up to "bound" events beyond its
-- oldest cursor are counted. Where there are more, a thousand of them tell about how many are not settled; chosen by the
-- golden section, which falls in with no rhythm that the log may have. Cursors that only stand idle do not count as
-- movement. Where tenants are deferred, so many are looked at, too, from where the first of those stands that are not
-- paused: one of them has waited the longest. Whether a name concerns the subscription is found once for each name. "cross join" keeps the planner from
-- walking the log to look for these in it, and "between" from reading it whole to make a Bloom filter of its positions, as
-- it does once there are statistics; receipts and delivery rows are looked up by subqueries for the same reason.
with recursive oldest as materialized (
    select min(done) as done from cursors where subscription = :subscription
), paused as materialized (
    select tenant_id from paused_tenants where subscription = :subscription
), first as materialized (
    -- How far each deferred tenant has got is kept beside a cursor, and under '' all others; it holds with that cursor alone.
    select min(coalesce(cast(json_extract(part.value, '$[0]') as integer), c.done)) as done
    from cursors as c left join json_each(case when json_extract(c.deferred, '$.cursor[0]') = cast(c.done as text)
        and json_extract(c.deferred, '$.cursor[1]') is cast(c.open as text)
        and json_extract(c.deferred, '$.cursor[2]') = c.position then json_extract(c.deferred, '$.places') end) as part
    where c.subscription = :subscription and (part.key is null or part.key not in (select tenant_id from paused))
), ahead as materialized (
    select * from (
        select 'counted' as role, position from event_log
        where position > (select done from oldest) order by position limit :bound)
    union all
    select * from (
        select 'seen', position from event_log
        where position > (select first.done from first join oldest on first.done > oldest.done)
        order by position limit :bound)
), span as materialized (
    select count(*) >= :bound as is_long, min(position) as low,
        case when count(*) >= :bound then (select max(position) from event_log) end as high
    from ahead where role = 'counted'
), places (number, position) as (
    select 0, low from span where is_long
    union all
    select number + 1, low + cast((high - low) * (
        (number + 1) * 0.6180339887 - cast((number + 1) * 0.6180339887 as integer)) as integer)
    from places join span where number < 999
), looked as materialized (
    select role, position from ahead
    union all
    select 'sampled', position from places
), found as materialized (
    select looked.role, e.position, e.id, e.tenant_id, e.event_name, e.occurred_at,
        holdfast_slot(cast(e.tenant_id as blob), cast(e.event_key as blob), cast(e.id as blob)) % s.partitions as partition
    from looked cross join event_log as e on e.position between looked.position and looked.position
    cross join subscriptions as s on s.id = :subscription
    where (:tenant_id is null or e.tenant_id = :tenant_id)
        and (e.position > s.start_horizon or e.position >= s.start_position)
), concerned as materialized (
    select named.event_name from (select distinct event_name from found) as named
    join subscriptions as s on s.id = :subscription
    where exists (select 1 from json_each(s.patterns) as pattern where holdfast_matches(pattern.value, named.event_name))
), judged as materialized (
    select e.role, e.position, e.tenant_id, e.occurred_at, c.updated_at,
        (select r.processed_at from receipts as r where r.event_id = e.id and r.subscription = :subscription) as processed_at,
        exists (
            select 1 from deliveries as d where d.position = e.position and d.subscription = :subscription) as is_parked
    from found as e
    cross join cursors as c on c.subscription = :subscription and c.partition = e.partition
    where e.event_name in (select event_name from concerned)
        and e.position > c.done and not (c.open is not null and e.position <= c.open and e.position < c.position)
), waiting as materialized (
    select * from judged where processed_at is null and not is_parked
), moved as (
    select max(processed_at) as at from judged
    union all
    select max(updated_at) from waiting
)
select case
        when not is_long then (select count(*) from waiting where role = 'counted')
        else max((select count(*) from waiting where role = 'counted'), (high - low + 1)
            * (select count(*) from waiting where role = 'sampled')
            / (select max(count(*), 1) from looked where role = 'sampled'))
    end as unsettled,
    is_long as estimated,
    -- The event's own time may be anything; it was stored after the newest snapshot that does not show it.
    (select max(e.occurred_at, coalesce((
        select max(s.at) from snapshots as s where s.at <= :now and s.horizon < e.position), ''))
    from waiting as e
    where e.tenant_id not in (select tenant_id from paused)
    order by e.position limit 1) as waiting_since,
    (select max(at) from moved) as moved_at
from span;
