-- What one subscription has still to see, of one tenant or of all, and when it last moved. At most "bound"
-- events beyond its oldest cursor are looked at; the first number says how many those were. Cursors that only stand idle
-- do not count as movement.
with ahead as materialized (
    select position, id, occurred_at, tenant_id, event_key from event_log
    where position > (select min(done) from cursors where subscription = :subscription)
    order by position limit :bound
), judged as materialized (
    select e.position, e.occurred_at, r.processed_at, c.updated_at, r.event_id is null and d.id is null as unsettled
    from ahead as e
    join subscriptions as s on s.id = :subscription
    join interests as i on i.position = e.position and i.subscription = s.id
    join cursors as c on c.subscription = s.id
        and c.partition = holdfast_slot(cast(e.tenant_id as blob), cast(e.event_key as blob), cast(e.id as blob)) % s.partitions
    left join receipts as r on r.event_id = e.id and r.subscription = s.id
    left join deliveries as d on d.position = e.position and d.subscription = s.id
    where (:tenant_id is null or e.tenant_id = :tenant_id)
        and e.position > c.done and not (c.open is not null and e.position <= c.open and e.position < c.position)
), moved as (
    select max(processed_at) as at from judged
    union all
    select max(updated_at) from judged where unsettled
)
select (select count(*) from ahead) as seen, (select count(*) from judged where unsettled) as backlog,
    -- The event's own time may be anything; it was stored after the newest snapshot that does not show it.
    (select max(e.occurred_at, coalesce((
        select max(s.at) from snapshots as s where s.at <= :now and s.horizon < e.position), ''))
    from judged as e where e.unsettled order by e.position limit 1) as waiting_since,
    (select max(at) from moved) as moved_at;
