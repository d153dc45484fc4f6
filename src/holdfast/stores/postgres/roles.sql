-- Six roles with the rights that each part of a system needs, and no more. They are siblings: none includes another,
-- and a program that does two things is granted two roles. Nobody can log in as one; grant them to those who can:
--     grant :"schema"_worker to shop_app;
-- Safe to run again, and needed again after a migration that brought new tables. Run it as the owner of the tables.

do $$
declare
    part text;
begin
    foreach part in array array['publisher', 'worker', 'operator', 'eraser', 'viewer', 'tenant'] loop
        begin
            execute format('create role %I nologin', ':"schema"_' || part);
        exception when duplicate_object or unique_violation then
            null;  -- roles belong to the whole server: another database has made it
        end;
    end loop;
end
$$;

revoke all on schema :"schema" from public;
revoke all on all tables in schema :"schema" from public;
revoke all on all sequences in schema :"schema" from public;
revoke all on all functions in schema :"schema" from public;
grant usage on schema :"schema" to ":"schema"_publisher", ":"schema"_worker", ":"schema"_operator", ":"schema"_eraser",
    ":"schema"_viewer", ":"schema"_tenant";

-- publisher: stores events, by a bus that declares no subscription or by plain SQL. It can read what a repeat with the
-- same id is compared with, count what a tenant has published, and read nothing of what becomes of events.
grant insert (id, day, occurred_at, tenant_id, event_name, event_key, payload, headers)
    on :"schema".event_log to ":"schema"_publisher";
grant select (id, day, occurred_at, tenant_id, event_name, event_key, payload)
    on :"schema".event_log to ":"schema"_publisher";
grant insert on :"schema".event_store to ":"schema"_publisher";
grant select on :"schema".meta, :"schema".schema_migrations, :"schema".incarnation to ":"schema"_publisher";
-- What it has scheduled it can compare, call off and put off.
grant insert (id, due_at, occurred_at, tenant_id, event_name, event_key, payload, headers), update (due_at), delete,
    select (id, tenant_id, event_name, event_key, payload) on :"schema".scheduled to ":"schema"_publisher";
grant select (done) on :"schema".cursors to ":"schema"_publisher";
grant insert on :"schema".incarnation to ":"schema"_publisher";
grant usage on sequence :"schema".event_position to ":"schema"_publisher";
-- Data keys are wrapped: without the master key, which is not in the database, they open nothing.
grant select, insert on :"schema".subject_keys to ":"schema"_publisher";
grant execute on function :"schema".uuid7(), :"schema".event_day(uuid), :"schema".slot_of(text, text, uuid)
    to ":"schema"_publisher";

-- worker: registers, leases, reads, settles, keeps house. It cannot change or delete an event, nor see the audit.
grant select on all tables in schema :"schema" to ":"schema"_worker";
revoke all on :"schema".audit from ":"schema"_worker";
grant insert (id, day, occurred_at, tenant_id, event_name, event_key, payload, headers)
    on :"schema".event_log to ":"schema"_worker";
grant insert on :"schema".event_store, :"schema".incarnation, :"schema".attempts to ":"schema"_worker";
grant insert, update on :"schema".subscriptions, :"schema".leases, :"schema".cursors, :"schema".receipts
    to ":"schema"_worker";
grant insert, update, delete on :"schema".deliveries, :"schema".workers to ":"schema"_worker";
grant insert, delete on :"schema".snapshots, :"schema".samples to ":"schema"_worker";
grant insert, update, delete on :"schema".scheduled to ":"schema"_worker";
grant insert, update on :"schema".schedules to ":"schema"_worker";
grant insert, update on :"schema".let_go to ":"schema"_worker";
grant update on :"schema".meta to ":"schema"_worker";
grant usage, select on sequence :"schema".event_position to ":"schema"_worker";
grant insert on :"schema".subject_keys to ":"schema"_worker";
grant execute on all functions in schema :"schema" to ":"schema"_worker";
revoke execute on function :"schema".after_restore() from ":"schema"_worker";

-- operator: pauses, retries, discards, replays, renames, removes, and leaves an audit row for each.
grant select on all tables in schema :"schema" to ":"schema"_operator";
grant update, delete on :"schema".subscriptions to ":"schema"_operator";
grant insert, update, delete on :"schema".leases, :"schema".cursors to ":"schema"_operator";
grant insert, update on :"schema".deliveries, :"schema".replays to ":"schema"_operator";
grant insert, update (master, wrapped) on :"schema".subject_keys to ":"schema"_operator";
grant insert, delete on :"schema".paused_tenants to ":"schema"_operator";
grant update (due_at), delete on :"schema".scheduled to ":"schema"_operator";
grant update (paused_at, paused_by, not_before, updated_at), delete on :"schema".schedules to ":"schema"_operator";
-- The count of an action grows while it runs; who did what stays as it was written.
grant insert, update (count) on :"schema".audit to ":"schema"_operator";
-- Seals grow, and end with their day: no link is taken away, and only what it says of dropped events is.
grant update on :"schema".sealing to ":"schema"_operator";
grant insert on :"schema".incarnation, :"schema".seal_days, :"schema".seal_segments to ":"schema"_operator";
grant update (segments, events, head, sealed_at) on :"schema".seal_days to ":"schema"_operator";
grant update (entries) on :"schema".seal_segments to ":"schema"_operator";
grant insert, delete on :"schema".snapshots to ":"schema"_operator";
grant delete on :"schema".workers to ":"schema"_operator";
grant update on :"schema".meta to ":"schema"_operator";
grant execute on all functions in schema :"schema" to ":"schema"_operator";
revoke execute on function :"schema".after_restore(), :"schema".record_let_go(text, json, bigint)
    from ":"schema"_operator";

-- eraser: masks what events, deliveries and attempts say, and leaves audit rows for it. Nobody else changes an event.
grant select on all tables in schema :"schema" to ":"schema"_eraser";
grant update (payload, headers) on :"schema".event_log to ":"schema"_eraser";
grant update (payload, headers) on :"schema".scheduled to ":"schema"_eraser";
grant update (payload, headers, reason) on :"schema".deliveries to ":"schema"_eraser";
grant update (message, traceback) on :"schema".attempts to ":"schema"_eraser";
grant update (wrapped, retired_at) on :"schema".subject_keys to ":"schema"_eraser";
grant insert, update (count) on :"schema".audit to ":"schema"_eraser";
grant execute on all functions in schema :"schema" to ":"schema"_eraser";
revoke execute on function :"schema".after_restore(), :"schema".make_day(date), :"schema".drop_day(text),
    :"schema".record_let_go(text, json, bigint)
    from ":"schema"_eraser";

-- viewer: looks.
grant select on all tables in schema :"schema" to ":"schema"_viewer";
grant execute on all functions in schema :"schema" to ":"schema"_viewer";
revoke execute on function :"schema".after_restore(), :"schema".make_day(date), :"schema".drop_day(text),
    :"schema".record_let_go(text, json, bigint)
    from ":"schema"_viewer";

-- tenant: what a login that is bound to tenants ("holdfast roles tenant add") sees and does. No table of ours, no view of
-- all; who it is bound to stands in tenant_grants.
grant select on :"schema".tenant_events, :"schema".tenant_consumers, :"schema".tenant_deliveries to ":"schema"_tenant";
grant execute on function :"schema".session_tenants(), :"schema".tenant_status(uuid),
    :"schema".tenant_publish(text, json, text, text, uuid, json, timestamptz) to ":"schema"_tenant";
-- Whose session is bound to whom, the owner of the tables says.
revoke execute on function :"schema".bind_tenant(name, text), :"schema".unbind_tenant(name, text)
    from ":"schema"_worker", ":"schema"_operator", ":"schema"_eraser", ":"schema"_viewer";
