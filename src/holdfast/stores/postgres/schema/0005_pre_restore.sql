-- 0005 restore
-- Why:   a store restored into another server keeps cursors that speak of the old server's transactions.
-- Phase: pre.
-- Locks: none; the function keeps publishers out while it runs, for as long as rewriting the whole log takes.
-- Undo:  roll forward.

-- Make a restored store one of this server: what cursors had not passed waits as delivery rows, every event counts as
-- committed long ago, and every cursor begins at what can be seen now. In the order below, or events would be lost.
create function :"schema".after_restore(out deliveries_placed bigint, out events_kept bigint)
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
    update cursors set done = pg_current_snapshot(), open = null, position = 0, updated_at = clock_timestamp();
    update leases set owner = null, lease_until = null, epoch = epoch + 1, clean = true, crashes = 0;
    delete from workers;
    delete from incarnation;
    insert into incarnation default values;
    update meta set system_identifier = (pg_control_system()).system_identifier, generation = generation + 1;
end
$$;
revoke execute on function :"schema".after_restore() from public;
