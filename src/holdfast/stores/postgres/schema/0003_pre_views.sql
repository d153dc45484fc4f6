-- 0003 views
-- Why:   the contract for plain SQL: event_store to read and to insert into, event_consumers to read.
-- Phase: pre.
-- Locks: none that matter, everything is new.
-- Undo:  roll forward.

-- Whether an event belongs to a subscription: its name matches, and it came after the subscription's start.
create function :"schema".concerns(
    subscription :"schema".subscriptions, event_name text, event_txid xid8, event_position bigint) returns boolean
language sql stable parallel safe
return exists (select from unnest((subscription).regexes) as regex where event_name ~ regex)
    and (not pg_visible_in_snapshot(event_txid, (subscription).start_snapshot)
        or event_position >= (subscription).start_position);

-- The worst of an event's subscriptions: dead > failed > processing > pending > processed.
-- "processing" is approximate: cursors are written about once a second.
create function :"schema".event_status(
    event_id uuid, event_day date, event_name text, event_slot smallint, event_txid xid8, event_position bigint)
returns text language sql stable
begin atomic
    with states as (
        select array_agg(distinct d.state) as present
        from :"schema".deliveries as d where d.event_id = event_status.event_id
    ), waiting as (
        -- What a cursor has passed without a receipt was not its subscription's at the time.
        select l.lease_until > clock_timestamp() and pg_visible_in_snapshot(event_txid, c.open) as opened
        from :"schema".subscriptions as s
        join :"schema".cursors as c on c.subscription = s.id and c.partition = event_slot % s.partitions
        join :"schema".leases as l on l.subscription = c.subscription and l.partition = c.partition
        where :"schema".concerns(s, event_status.event_name, event_txid, event_position)
            and not pg_visible_in_snapshot(event_txid, c.done)
            and (c.open is null or not pg_visible_in_snapshot(event_txid, c.open) or event_position >= c.position)
            and not exists (
                select from :"schema".receipts as r
                where r.event_id = event_status.event_id and r.day = event_day and r.subscription = s.id)
            and not exists (
                select from :"schema".deliveries as d
                where d.event_id = event_status.event_id and d.subscription = s.id)
    )
    select case
        when 'dead' = any (present) then 'dead'
        when 'retrying' = any (present) then 'failed'
        when 'running' = any (present) or exists (select from waiting where opened) then 'processing'
        when 'pending' = any (present) or exists (select from waiting) then 'pending'
        else 'processed'
    end
    from states;
end;

create function :"schema".event_retries(event_id uuid) returns bigint language sql stable
begin atomic
    select count(*) from :"schema".attempts as a
    where a.event_id = event_retries.event_id and a.outcome <> 'put off';
end;

create function :"schema".event_processed_at(event_id uuid, event_day date) returns timestamptz language sql stable
begin atomic
    select max(r.processed_at) from :"schema".receipts as r
    where r.event_id = event_processed_at.event_id and r.day = event_day;
end;

-- Plain columns of one table plus functions: PostgreSQL lets a plain INSERT through, with the log's own defaults.
create view :"schema".event_store as
select e.id, e.tenant_id, e.event_name, e.event_key, e.payload, e.headers, e.occurred_at,
    :"schema".event_status(e.id, e.day, e.event_name, e.slot, e.txid, e.position) as status,
    :"schema".event_retries(e.id) as retries,
    case when :"schema".event_status(e.id, e.day, e.event_name, e.slot, e.txid, e.position) = 'processed'
        then :"schema".event_processed_at(e.id, e.day) end as processed_at
from :"schema".event_log as e;

-- An event is a fact: the view takes new ones and changes none.
create function :"schema".refuse_change() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    raise exception 'an event cannot be changed or deleted' using errcode = 'object_not_in_prerequisite_state',
        hint = 'Events are dropped by retention, when every subscription is through with them.';
end
$$;
create trigger refuse_change instead of update or delete on :"schema".event_store
    for each row execute function :"schema".refuse_change();

create view :"schema".event_consumers as
select r.event_id, s.name as consumer_name, r.processed_at, r.attempts
from :"schema".receipts as r join :"schema".subscriptions as s on s.id = r.subscription;
