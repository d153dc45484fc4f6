-- 0004 retention
-- Why:   a day's events and receipts are dropped together, and only when every subscription is through with them.
-- Phase: pre.
-- Locks: none; the function takes access exclusive on the log when it is called, for at most 100 ms of waiting.
-- Undo:  roll forward.

-- Which subscriptions still need events of a day: cursors that do not show all of them (places that are the same are
-- looked at once), and deliveries that wait for their content. "order by txid limit 1" makes each look one step into the
-- index of transaction ids: an "exists" goes through the whole day, as the planner expects to find a row at once, and
-- where nobody needs the day there is none; the second look is under the lock that publishers wait for.
create function :"schema".day_needed(wanted date, log_name text, out blocking text[])
language plpgsql volatile set search_path = :"schema", pg_catalog, pg_temp as $$
begin
    execute format($check$
        select coalesce(array_agg(s.name order by s.name), '{}') from subscriptions as s
        where s.id in (
                select unnest(place.subscriptions)
                from (
                    select done::text::pg_snapshot as done, array_agg(distinct subscription) as subscriptions
                    from cursors group by done::text
                ) as place
                where pg_snapshot_xmax(place.done)
                        <= (select e.txid from %1$I as e where e.day = %2$L order by e.txid desc limit 1)
                    or exists (
                        select from pg_snapshot_xip(place.done) as running(txid) where running.txid = (
                            select e.txid from %1$I as e where e.day = %2$L and e.txid >= running.txid
                            order by e.txid limit 1)))
            or exists (
                select from deliveries as d where d.subscription = s.id and d.day = %2$L and d.payload is null
                    and d.state in ('pending', 'retrying', 'running'))
    $check$, log_name, wanted) into blocking;
end
$$;
revoke execute on function :"schema".day_needed(date, text) from public;

-- A first look goes without a lock, so that a day that is needed for long costs publishers nothing. Then the lock comes
-- before the look that counts: a publish
-- that is under way would otherwise slip between the check and the drop.
-- Then every statement of the function takes its own snapshot (it is volatile), so the checks see what is committed.
-- A day without a partition of its own has its rows in the default partitions, which stay: there the rows are deleted,
-- and only publishers of such days wait.
-- A large day is not counted but estimated, by the server's last look at it: counting reads all that is to be dropped, and
-- takes longer than all else here.
-- With the owner's rights, so that a worker needs no more than the right to call it.
create function :"schema".drop_day(suffix text, out rows_dropped bigint, out blocking text[])
language plpgsql volatile security definer set search_path = :"schema", pg_catalog, pg_temp as $$
declare
    day_dropped date := to_date(suffix, 'YYYYMMDD');
    log_name text := 'event_log_' || suffix;
    receipts_name text := 'receipts_' || suffix;
    keep text;
    is_wanted boolean;
    has_partition boolean := to_regclass(':"schema".event_log_' || suffix) is not null;
begin
    rows_dropped := 0;
    perform set_config('lock_timeout', '100ms', true);
    if not has_partition then
        log_name := 'event_log_default';
        receipts_name := 'receipts_default';
    end if;
    begin
        blocking := day_needed(day_dropped, log_name);
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
    blocking := day_needed(day_dropped, log_name);
    execute format($check$
        select exists (
            select from deliveries as d join %I as e on e.id = d.event_id and e.day = d.day
            where d.day = %L and d.payload is null and d.state <> 'discarded')
    $check$, log_name, day_dropped) into is_wanted;
    if cardinality(blocking) > 0 or is_wanted then
        rows_dropped := 0;
        return;
    end if;
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
revoke execute on function :"schema".drop_day(text) from public;
