-- 0004 retention
-- Why:   a day's events and receipts are dropped together, and only when every subscription is through with them.
-- Phase: pre.
-- Locks: none; the function takes access exclusive on the log when it is called, for at most 100 ms of waiting.
-- Undo:  roll forward.

-- The lock comes first: a publish that is under way would otherwise slip between the check and the drop.
-- Then every statement of the function takes its own snapshot (it is volatile), so the checks see what is committed.
create function :"schema".drop_day(suffix text, out rows_dropped bigint, out blocking text[])
language plpgsql volatile security definer set search_path = :"schema", pg_catalog, pg_temp as $$
declare
    day_dropped date := to_date(suffix, 'YYYYMMDD');
    log_name text := 'event_log_' || suffix;
    receipts_name text := 'receipts_' || suffix;
begin
    rows_dropped := 0;
    perform set_config('lock_timeout', '100ms', true);
    lock table only event_log, only receipts in access exclusive mode;
    blocking := '{}';
    if to_regclass(':"schema".' || log_name) is null then
        return;  -- another worker was quicker
    end if;
    execute format('lock table %I, %I in access exclusive mode', log_name, receipts_name);
    execute format($check$
        select coalesce(array_agg(distinct s.name), '{}') from subscriptions as s
        where exists (
                select from cursors as c where c.subscription = s.id and exists (
                    select from %I as e where e.txid >= pg_snapshot_xmax(c.done)
                        or e.txid = any(array(select pg_snapshot_xip(c.done)))))
            or exists (
                select from deliveries as d where d.subscription = s.id and d.day = %L and d.payload is null
                    and d.state in ('pending', 'retrying', 'running'))
    $check$, log_name, day_dropped) into blocking;
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
    execute format('select count(*) from %I', log_name) into rows_dropped;
    execute format('drop table %I', log_name);
    execute format('drop table %I', receipts_name);
end
$$;
revoke execute on function :"schema".drop_day(text) from public;
