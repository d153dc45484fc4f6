-- Subscription, leases and cursors in one statement with one snapshot. "now" is what that snapshot does not show;
-- another start opens a window from nothing to that snapshot, at the position of the first event wanted.
-- A concurrent registration of the same name makes this insert nothing.
with start as (
    select pg_current_snapshot() as snap, case
        when %(start)s = 'now' then 9223372036854775807
        when %(start)s = 'beginning' then 0
        when %(start)s = 'time' then coalesce(
            (select min(position) from :"schema".event_log where occurred_at >= %(time)s::timestamptz), 9223372036854775807)
        else (select min(position) from :"schema".event_log where id = %(event)s::uuid)
    end as position
), added as (
    insert into :"schema".subscriptions (name, patterns, regexes, partitions, ordering, on_dead, replayable,
        behind_retention, start_snapshot, start_position)
    select %(name)s, %(patterns)s::text[], %(regexes)s::text[], %(partitions)s, %(ordering)s, %(on_dead)s,
        %(replayable)s, %(behind_retention)s, snap, position
    from start where position is not null
    on conflict (name) do nothing
    returning id, partitions, start_snapshot, start_position
), leased as (
    insert into :"schema".leases (subscription, partition)
    select id, partition from added, generate_series(0, added.partitions - 1) as partition
), placed as (
    insert into :"schema".cursors (subscription, partition, done, open, position)
    select id, partition,
        case when start_position = 9223372036854775807 then start_snapshot else pg_snapshot '1:1:' end,
        case when start_position = 9223372036854775807 then null else start_snapshot end,
        case when start_position = 9223372036854775807 then 0 else start_position end
    from added, generate_series(0, added.partitions - 1) as partition
)
select (select id from added) as id, (select position from start) as position;
