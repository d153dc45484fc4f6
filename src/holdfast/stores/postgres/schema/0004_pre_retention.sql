-- 0004 retention
-- Why:   a day's events and receipts are dropped together, and only when every subscription is through with them.
-- Phase: pre.
-- Locks: none; the function takes access exclusive on the log when it is called, for at most 100 ms of waiting.
-- Undo:  roll forward.

-- The lock comes first: a publish that is under way would otherwise slip between the check and the drop.
-- Then every statement of the function takes its own snapshot (it is volatile), so the checks see what is committed.
-- A day without a partition of its own has its rows in the default partitions, which stay: there the rows are deleted,
-- and only publishers of such days wait.
-- With the owner's rights, so that a worker needs no more than the right to call it.
create function :"schema".drop_day(suffix text, out rows_dropped bigint, out blocking text[])
language plpgsql volatile security definer set search_path = :"schema", pg_catalog, pg_temp as $$
declare
    day_dropped date := to_date(suffix, 'YYYYMMDD');
    log_name text := 'event_log_' || suffix;
    receipts_name text := 'receipts_' || suffix;
    has_partition boolean := to_regclass(':"schema".event_log_' || suffix) is not null;
begin
    rows_dropped := 0;
    blocking := '{}';
    perform set_config('lock_timeout', '100ms', true);
    if has_partition then
        lock table only event_log, only receipts in access exclusive mode;
        if to_regclass(':"schema".' || log_name) is null then
            return;  -- another worker was quicker
        end if;
        execute format('lock table %I, %I in access exclusive mode', log_name, receipts_name);
    else
        log_name := 'event_log_default';
        receipts_name := 'receipts_default';
        lock table event_log_default, receipts_default in share row exclusive mode;
    end if;
    execute format($check$
        select coalesce(array_agg(distinct s.name), '{}') from subscriptions as s
        where exists (
                select from cursors as c where c.subscription = s.id and exists (
                    select from %I as e where e.day = %L and (e.txid >= pg_snapshot_xmax(c.done)
                        or e.txid = any(array(select pg_snapshot_xip(c.done))))))
            or exists (
                select from deliveries as d where d.subscription = s.id and d.day = %L and d.payload is null
                    and d.state in ('pending', 'retrying', 'running'))
    $check$, log_name, day_dropped, day_dropped) into blocking;
    if cardinality(blocking) > 0 then
        return;
    end if;
    execute format($keep$
        update deliveries as d set payload = e.payload, headers = e.headers, occurred_at = e.occurred_at
        from %I as e where d.event_id = e.id and d.day = %L and d.state = 'dead'
    $keep$, log_name, day_dropped);
    delete from deliveries where day = day_dropped and state = 'discarded';
    delete from attempts as a where a.day = day_dropped and not exists (
        select from deliveries as d where d.event_id = a.event_id and d.subscription = a.subscription);
    if has_partition then
        execute format('select count(*) from %I', log_name) into rows_dropped;
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
