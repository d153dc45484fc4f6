-- 0013 let go
-- Why:   a subscription may say that it lets go of what it has not handled when retention comes to it, instead of keeping
--        the log; what it lets go of is written down, and archived first if it says so.
-- Phase: pre; workers of the previous release know of no other choice than to hold.
-- Locks: a short exclusive lock on subscriptions, which get a column.
-- Undo:  roll forward. With every subscription on 'hold' all is as before.

-- In steps: a column with a default is refused where a function takes rows of the table.
alter table :"schema".subscriptions add column behind_retention text check (behind_retention in ('hold', 'archive', 'drop'));
update :"schema".subscriptions set behind_retention = 'hold';
alter table :"schema".subscriptions alter column behind_retention set default 'hold',
    alter column behind_retention set not null;
comment on column :"schema".subscriptions.behind_retention is
    'What becomes of events that it has not handled when they are beyond retention.';

-- How far letting go of a day has got. Whoever goes on after a crash begins at "position", so that what was archived
-- before is archived once. "shown" was taken by the statement that stored it, before that had a transaction id: where the
-- row is there, no id that "shown" calls finished is handed out again.
create table :"schema".let_go (
    subscription integer not null references :"schema".subscriptions on delete cascade,
    day date not null,
    shown pg_snapshot not null,
    before pg_snapshot,
    position bigint not null default 0,
    events bigint not null default 0,
    first_position bigint,
    last_position bigint,
    begun_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    primary key (subscription, day)
);
comment on column :"schema".let_go.shown is 'Of the day''s events, those that this shows are let go of once it is finished.';
comment on column :"schema".let_go.before is 'What was let go of in an earlier round, before more of the day came.';

-- Who needs events of a day, and who would, but has let go of all of them. As cheap as day_needed was: see there.
-- Deliveries that wait stand in the way, whoever has let go: those there were are discarded by then, these came since.
create function :"schema".day_standing(wanted date, log_name text, out blocking text[], out letting_go integer[])
language plpgsql volatile set search_path = :"schema", pg_catalog, pg_temp as $$
begin
    execute format($check$
        with places as (
            select false as lets_go, done::text::pg_snapshot as shown, array_agg(distinct subscription) as subscriptions
            from cursors group by done::text
            union all
            select true, g.shown, array[g.subscription]
            from let_go as g join subscriptions as s on s.id = g.subscription
            where g.day = %2$L and g.finished_at is not null and s.behind_retention <> 'hold'
        ), short as materialized (
            select place.lets_go, unnest(place.subscriptions) as subscription
            from places as place
            where pg_snapshot_xmax(place.shown)
                    <= (select e.txid from %1$I as e where e.day = %2$L order by e.txid desc limit 1)
                or exists (
                    select from pg_snapshot_xip(place.shown) as running(txid) where running.txid = (
                        select e.txid from %1$I as e where e.day = %2$L and e.txid >= running.txid
                        order by e.txid limit 1))
        ), gone as materialized (
            select subscription from places, unnest(subscriptions) as subscription where lets_go
            except
            select subscription from short where lets_go
        )
        select coalesce(array_agg(s.name order by s.name) filter (where parked.waits or behind.is_so and not gone.is_so), '{}'),
            coalesce(array_agg(s.id order by s.id) filter (where behind.is_so and gone.is_so), '{}')
        from subscriptions as s
        cross join lateral (select s.id in (select subscription from short where not lets_go) as is_so) as behind
        cross join lateral (select s.id in (select subscription from gone) as is_so) as gone
        cross join lateral (select exists (
            select from deliveries as d where d.subscription = s.id and d.day = %2$L and d.payload is null
                and d.state in ('pending', 'retrying', 'running')) as waits) as parked
    $check$, log_name, wanted) into blocking, letting_go;
end
$$;
revoke execute on function :"schema".day_standing(date, text) from public;

create or replace function :"schema".day_needed(wanted date, log_name text, out blocking text[])
language plpgsql volatile set search_path = :"schema", pg_catalog, pg_temp as $$
begin
    select s.blocking into blocking from day_standing(wanted, log_name) as s;
end
$$;

-- The same without a lock, for people who look and workers who let go. With the owner's rights, because roles may read the
-- log, but no partition that was made after they were; it takes no name of a table from its caller.
create function :"schema".day_kept_by(wanted date) returns text[]
language plpgsql volatile security definer set search_path = :"schema", pg_catalog, pg_temp as $$
declare
    log_name text := 'event_log_' || to_char(wanted, 'YYYYMMDD');
begin
    if to_regclass(':"schema".' || log_name) is null then
        log_name := 'event_log_default';
    end if;
    return day_needed(wanted, log_name);
end
$$;
revoke execute on function :"schema".day_kept_by(date) from public;

-- As in 0004, and: whoever has let go of the day keeps it no longer, and loses its leases with it.
create or replace function :"schema".drop_day(suffix text, out rows_dropped bigint, out blocking text[])
language plpgsql volatile security definer set search_path = :"schema", pg_catalog, pg_temp as $$
declare
    day_dropped date := to_date(suffix, 'YYYYMMDD');
    log_name text := 'event_log_' || suffix;
    receipts_name text := 'receipts_' || suffix;
    keep text;
    is_wanted boolean;
    letting_go integer[];
    letting_go_now integer[];
    has_partition boolean := to_regclass(':"schema".event_log_' || suffix) is not null;
begin
    rows_dropped := 0;
    perform set_config('lock_timeout', '100ms', true);
    if not has_partition then
        log_name := 'event_log_default';
        receipts_name := 'receipts_default';
    end if;
    begin
        select s.blocking, s.letting_go into blocking, letting_go from day_standing(day_dropped, log_name) as s;
        if cardinality(blocking) > 0 then
            return;
        end if;
        if has_partition then
            select reltuples into rows_dropped from pg_class where oid = to_regclass(':"schema".' || log_name);
        end if;
        if rows_dropped < 100000 then
            execute format('select count(*) from %I where day = %L', log_name, day_dropped) into rows_dropped;
        end if;
        keep := format($keep$
            update deliveries as d set payload = e.payload, headers = e.headers, occurred_at = e.occurred_at
            from %I as e where d.event_id = e.id and d.day = e.day and d.day = %L and d.state = 'dead' and d.payload is null
        $keep$, log_name, day_dropped);
        execute keep;
    exception when undefined_table then
        rows_dropped := 0;
        blocking := '{}';
        return;  -- another worker was quicker
    end;
    -- Leases before tables, as whoever settles takes them.
    perform from leases where subscription = any(letting_go) order by subscription, partition for update;
    if has_partition then
        lock table only event_log, only receipts in access exclusive mode;
        if to_regclass(':"schema".' || log_name) is null then
            rows_dropped := 0;
            return;  -- another worker was quicker
        end if;
        execute format('lock table %I, %I in access exclusive mode', log_name, receipts_name);
    else
        lock table event_log_default, receipts_default in share row exclusive mode;
    end if;
    -- Dead letters have their content before the look that counts, those that have died since the first look too: this waits
    -- for whoever retries one just now, and that look sees what he made of it. After it, whatever is still without content
    -- stands in the way, also what has just died.
    execute keep;
    select s.blocking, s.letting_go into blocking, letting_go_now from day_standing(day_dropped, log_name) as s;
    execute format($check$
        select exists (
            select from deliveries as d join %I as e on e.id = d.event_id and e.day = d.day
            where d.day = %L and d.payload is null and d.state <> 'discarded')
    $check$, log_name, day_dropped) into is_wanted;
    if cardinality(blocking) > 0 or is_wanted or not letting_go_now <@ letting_go then
        rows_dropped := 0;
        return;
    end if;
    -- What their workers have in hand of the day is nobody's from here on: a failure of it would be a row without an event.
    -- An owner whose time is over stays, so that the next one is careful with what this one may have in hand besides.
    update leases set epoch = epoch + 1, clean = false, lease_until = least(lease_until, clock_timestamp()),
        crashes = greatest(crashes - (lease_until > clock_timestamp())::integer, 0)
    where subscription = any(letting_go_now) and owner is not null;
    update leases set epoch = epoch + 1, clean = false where subscription = any(letting_go_now) and owner is null;
    delete from let_go where day = day_dropped;
    update seal_days set dropped_at = clock_timestamp() where day = day_dropped;
    delete from deliveries where day = day_dropped and state = 'discarded';
    delete from attempts as a where a.day = day_dropped and not exists (
        select from deliveries as d where d.event_id = a.event_id and d.subscription = a.subscription);
    if has_partition then
        execute format('drop table %I', log_name);
        execute format('drop table %I', receipts_name);
    else
        delete from event_log_default where day = day_dropped;
        get diagnostics rows_dropped = row_count;
        delete from receipts_default where day = day_dropped;
    end if;
end
$$;

-- As in 0005, and: what was let go of by the old server's transactions is looked at anew.
create or replace function :"schema".after_restore(out deliveries_placed bigint, out events_kept bigint)
language plpgsql volatile set search_path = :"schema", pg_catalog, pg_temp as $$
begin
    perform set_config('lock_timeout', '5s', true);
    -- Transactions that have published are through, later ones wait; each statement below sees what they committed.
    lock table event_log in share row exclusive mode;

    insert into deliveries
        (subscription, partition, event_id, day, position, tenant_id, event_key, event_name, state)
    select s.id, c.partition, e.id, e.day, e.position, e.tenant_id, e.event_key, e.event_name, 'pending'
    from subscriptions as s
    join cursors as c on c.subscription = s.id
    join event_log as e on e.slot % s.partitions = c.partition
    where concerns(s, e.event_name, e.txid, e.position)
        and not pg_visible_in_snapshot(e.txid, c.done)
        and (c.open is null or not pg_visible_in_snapshot(e.txid, c.open) or e.position >= c.position)
        and not exists (
            select from receipts as r where r.event_id = e.id and r.day = e.day and r.subscription = s.id)
    order by e.position
    on conflict (subscription, event_id) do nothing;
    get diagnostics deliveries_placed = row_count;

    -- What came after a subscription's start stays its own, for views and replays.
    update subscriptions as s set start_snapshot = pg_current_snapshot(), start_position = least(
        s.start_position,
        (select min(e.position) from event_log as e where not pg_visible_in_snapshot(e.txid, s.start_snapshot)));

    update event_log set txid = '3';  -- the first id of any server: every snapshot shows it
    get diagnostics events_kept = row_count;

    -- Nothing of the log is shown as sealed by a transaction any more: the seals themselves are asked, once.
    update sealing set step = step + 1, done = '3:3:', open = null, position = 0, recount = true;

    delete from snapshots;
    delete from let_go;  -- by the old server's transactions: what was not dropped is looked at anew
    update cursors set done = pg_current_snapshot(), open = null, position = 0, updated_at = clock_timestamp();
    update leases set owner = null, lease_until = null, epoch = epoch + 1, clean = true, crashes = 0;
    delete from workers;
    delete from incarnation;
    insert into incarnation default values;
    update meta set system_identifier = (pg_control_system()).system_identifier, generation = generation + 1;
end
$$;

-- The visible record. With the owner's rights: workers write no other row of the audit, and read none.
create function :"schema".record_let_go(target text, detail json, events bigint) returns void
language sql security definer
begin atomic
    insert into :"schema".audit (actor, action, target, detail, count)
    values ('retention', 'let go', record_let_go.target, record_let_go.detail, record_let_go.events);
end;
revoke execute on function :"schema".record_let_go(text, json, bigint) from public;
