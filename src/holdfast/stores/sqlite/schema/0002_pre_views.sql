-- 0002 views
-- Why:   the contract for plain SQL: event_store to read and to insert into, event_consumers to read. Any SQLite
--        client can use them: they need no function of ours.
-- Phase: pre.
-- Locks: the file's write lock for a few milliseconds.
-- Undo:  roll forward.

-- What a plain INSERT leaves out: an id of version 7 (48 bits of milliseconds, the rest random) and the time.
create view event_defaults as
select
    substr(milliseconds, 1, 8) || '-' || substr(milliseconds, 9, 4)
        || '-7' || substr(lower(hex(randomblob(2))), 2)
        || '-' || substr('89ab', 1 + (random() & 3), 1) || substr(lower(hex(randomblob(2))), 2)
        || '-' || lower(hex(randomblob(6))) as id,
    strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z' as occurred_at
from (
    select printf('%012x', strftime('%s', 'now') * 1000 + substr(strftime('%f', 'now'), 4)) as milliseconds
) as clock;

-- Which subscription an event belongs to: its name matches, and it came after the subscription's start.
-- GLOB alone lets "*" eat dots. Without "**" the number of dots settles that; with both, segments are compared.
create view interests as
select e.position, s.id as subscription
from event_log as e join subscriptions as s
where (e.position > s.start_horizon or e.position >= s.start_position)
    and exists (
        select 1 from json_each(s.patterns) as pattern
        where e.event_name glob pattern.value
            and case
                when pattern.value not glob '*[*][*]' then
                    length(e.event_name) - length(replace(e.event_name, '.', ''))
                    = length(pattern.value) - length(replace(pattern.value, '.', ''))
                when instr(pattern.value, '*') = length(pattern.value) - 1 then 1
                else
                    length(e.event_name) - length(replace(e.event_name, '.', ''))
                    >= length(pattern.value) - length(replace(pattern.value, '.', ''))
                    and not exists (
                        select 1
                        from json_each('["' || replace(pattern.value, '.', '","') || '"]') as wanted
                        join json_each(
                            case when e.event_name glob '*[^A-Za-z0-9_:/.-]*' then '[]'
                            else '["' || replace(e.event_name, '.', '","') || '"]' end
                        ) as segment on segment.key = wanted.key
                        where wanted.value not in ('*', '**') and wanted.value <> segment.value)
            end);

-- How far each event has got with each of its subscriptions: 0 processed, 1 pending, 2 processing, 3 failed, 4 dead.
-- What all cursors have passed without a receipt was not this subscription's at the time. "Processing" is approximate:
-- cursors are written about once a second, and any partition's open window counts.
create view stages as
select e.position, s.id as subscription,
    case
        when d.state = 'dead' then 4
        when d.state = 'retrying' then 3
        when d.state = 'running' then 2
        when d.state = 'pending' then 1
        when d.state = 'discarded' or r.event_id is not null then 0
        when exists (
            select 1 from leases as l
            join cursors as c on c.subscription = l.subscription and c.partition = l.partition
            where l.subscription = s.id and l.lease_until > strftime('%Y-%m-%dT%H:%M:%f', 'now')
                and e.position > c.done and e.position <= c.open and e.position >= c.position) then 2
        else 1
    end as stage
from event_log as e join subscriptions as s
left join deliveries as d on d.position = e.position and d.subscription = s.id
left join receipts as r on r.event_id = e.id and r.subscription = s.id
where d.id is not null or r.event_id is not null
    or (e.position > (select min(c.done) from cursors as c where c.subscription = s.id)
        and exists (select 1 from interests as i where i.position = e.position and i.subscription = s.id));

create view event_store as
select e.id, e.tenant_id, e.event_name, e.event_key, e.payload, e.headers,
    case coalesce((select max(stage) from stages where stages.position = e.position), 0)
        when 4 then 'dead' when 3 then 'failed' when 2 then 'processing' when 1 then 'pending' else 'processed'
    end as status,
    (select count(*) from attempts as a where a.event_id = e.id and a.outcome <> 'put off') as retries,
    e.occurred_at,
    case coalesce((select max(stage) from stages where stages.position = e.position), 0)
        when 0 then (select max(r.processed_at) from receipts as r where r.event_id = e.id)
    end as processed_at
from event_log as e;

-- A time in another form that SQLite reads ('2030-01-31 12:00', '2030-01-31T12:00:00+02:00') is brought into ours.
create trigger event_store_takes_events instead of insert on event_store
begin
    select raise(abort, 'status, retries and processed_at are not given: Holdfast finds them out')
    where new.status is not null or new.retries is not null or new.processed_at is not null;
    insert into event_log (id, occurred_at, tenant_id, event_name, event_key, payload, headers)
    select coalesce(lower(new.id), made.id),
        case
            when new.occurred_at is null then made.occurred_at
            when new.occurred_at glob '*[.][0-9][0-9][0-9][0-9][0-9][0-9]Z' then new.occurred_at
            else strftime('%Y-%m-%dT%H:%M:%f', new.occurred_at) || '000Z'
        end,
        coalesce(new.tenant_id, 'default'), new.event_name, new.event_key, new.payload, new.headers
    from event_defaults as made;
end;

create view event_consumers as
select r.event_id, s.name as consumer_name, r.processed_at, r.attempts
from receipts as r join subscriptions as s on s.id = r.subscription;
