-- The next events to seal, of one day: that on which they were stored, by the snapshots of each minute; today for those
-- that no snapshot shows yet. Without "order by ... limit 1" a minimum would be looked for in all snapshots.
with next as (
    select min(position) as position from event_log where position > max(:position, :highest) and position <= :open
), stored as (
    select coalesce(
        (select substr(later.at, 1, 10) from snapshots as later where later.at > coalesce(
            (select s.at from snapshots as s where s.horizon < next.position order by s.at desc limit 1), '')
        order by later.at limit 1),
        substr(:now, 1, 10)) as day
    from next
), bounds as (
    select day,
        case when day < substr(:now, 1, 10) then coalesce(
            (select max(next.position, s.horizon) from snapshots as s, next where s.at < date(day, '+1 day')
            order by s.at desc limit 1), :open)
        else :open end as last
    from stored
)
select e.position, cast(e.id as blob) as id, bounds.day, cast(e.occurred_at as blob) as occurred_at,
    cast(e.tenant_id as blob) as tenant_id, cast(e.event_name as blob) as event_name, cast(e.event_key as blob) as event_key,
    case when e.headers is not null then holdfast_sha256(cast(e.headers as blob)) end as headers,
    holdfast_sha256(cast(e.payload as blob)) as payload
from bounds cross join event_log as e
where e.position > max(:position, :highest) and e.position <= min(:open, bounds.last)
order by e.position limit :limit;
