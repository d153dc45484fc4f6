-- 0001 tables
-- Why:   the log, subscriptions, leases, cursors, receipts, deliveries and the operator's records.
-- Phase: pre; there is no release before this one.
-- Locks: none that matter, everything is new.
-- Undo:  dropping the schema loses every event; there is no other way back.
--
-- Of every function here and in later steps: what its names mean must not depend on the search path of whoever calls
-- it, or somebody who can make objects in a schema of that path, or temporary ones, runs code with the caller's rights.
-- SQL functions have bodies that are bound when they are made ("return", "begin atomic"); the others set a path that
-- names pg_temp last, because it comes first where it is not named (PostgreSQL manual, CREATE FUNCTION, "Writing
-- SECURITY DEFINER Functions Safely").

create table :"schema".meta (
    only_row boolean primary key default true check (only_row),
    store_id uuid not null default gen_random_uuid(),
    system_identifier bigint not null default (pg_control_system()).system_identifier,
    generation bigint not null default 1
);
insert into :"schema".meta default values;
comment on column :"schema".meta.generation is
    'Grows when somebody registers, pauses, replays, retries or discards; workers then reload.';

-- Emptied by a crash of the server, which is how workers notice that transaction ids may be handed out again.
create unlogged table :"schema".incarnation (
    only_row boolean primary key default true check (only_row),
    id uuid not null default gen_random_uuid()
);
insert into :"schema".incarnation default values;

create table :"schema".subscriptions (
    id integer generated always as identity primary key,
    name text not null unique check (length(name) between 1 and 200),
    patterns text[] not null,
    regexes text[] not null,
    partitions smallint not null check (partitions between 1 and 1024),
    ordering text not null check (ordering in ('key', 'none')),
    on_dead text not null check (on_dead in ('continue', 'hold')),
    replayable boolean not null,
    start_snapshot pg_snapshot not null,
    start_position bigint not null,
    paused_at timestamptz,
    paused_by text,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp()
);
comment on column :"schema".subscriptions.start_position is
    'Of the events that start_snapshot shows, those from this position on belong to the subscription.';

create table :"schema".leases (
    subscription integer not null references :"schema".subscriptions on delete cascade,
    partition smallint not null,
    owner uuid,
    lease_until timestamptz,
    ttl real not null default 0,
    epoch bigint not null default 0,
    clean boolean not null default true,
    crashes smallint not null default 0,
    primary key (subscription, partition)
) with (fillfactor = 50);
comment on column :"schema".leases.ttl is
    'Seconds that its owner takes it for: a lease further ahead than twice that shows that the clock stepped back.';
comment on column :"schema".leases.clean is 'The cursor is exact: nothing beyond it was ever handled.';

create table :"schema".cursors (
    subscription integer not null references :"schema".subscriptions on delete cascade,
    partition smallint not null,
    done pg_snapshot not null,
    open pg_snapshot,
    position bigint not null default 0,
    updated_at timestamptz not null default clock_timestamp(),
    primary key (subscription, partition)
) with (fillfactor = 50);

create table :"schema".workers (
    id uuid primary key,
    host text not null,
    boot_id text not null,
    pid integer not null,
    pid_started text not null,
    version text not null,
    subscriptions integer[] not null,
    draining boolean not null default false,
    tripped integer[] not null default '{}',
    started_at timestamptz not null default clock_timestamp(),
    heartbeat_at timestamptz not null default clock_timestamp()
) with (fillfactor = 50);

create table :"schema".snapshots (
    at timestamptz primary key default clock_timestamp(),
    day date not null,
    snap pg_snapshot not null,
    xid xid8 not null default pg_current_xact_id()
);
comment on table :"schema".snapshots is
    'One a minute. "snap" was taken before the storing transaction had an id, "xid" is its id, "day" is older than it.';

create table :"schema".replays (
    id bigint generated always as identity primary key,
    subscription integer not null references :"schema".subscriptions on delete cascade,
    filters json not null,
    rate real not null,
    total bigint not null,
    done bigint not null default 0,
    state text not null default 'running' check (state in ('running', 'finished', 'cancelled')),
    actor text not null,
    created_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz
);

create table :"schema".deliveries (
    id bigint generated always as identity primary key,
    subscription integer not null references :"schema".subscriptions on delete cascade,
    partition smallint not null,
    event_id uuid not null,
    day date not null,
    position bigint not null,
    tenant_id text not null,
    event_key text,
    event_name text not null,
    state text not null check (state in ('pending', 'retrying', 'running', 'dead', 'discarded')),
    attempts integer not null default 0,
    put_offs integer not null default 0,
    claim integer not null default 0,
    due_at timestamptz not null default clock_timestamp(),
    replay bigint references :"schema".replays on delete set null,
    reason text,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    payload json,
    headers json,
    occurred_at timestamptz,
    unique (subscription, event_id)
);
comment on column :"schema".deliveries.claim is
    'How often the row was taken into hand: what is written about an earlier time no longer counts.';
comment on column :"schema".deliveries.payload is
    'Filled when retention drops the event of a dead letter; so are headers and occurred_at.';
create index deliveries_due_idx on :"schema".deliveries (subscription, partition, id)
    where state in ('pending', 'retrying', 'running');
create index deliveries_key_idx on :"schema".deliveries (subscription, tenant_id, event_key, id)
    where state in ('pending', 'retrying', 'running', 'dead');
create index deliveries_day_idx on :"schema".deliveries (day, subscription)
    where state in ('pending', 'retrying', 'running');
create index deliveries_event_idx on :"schema".deliveries (event_id);
create index deliveries_dead_idx on :"schema".deliveries (subscription, id) where state = 'dead';
create index deliveries_dead_key_idx on :"schema".deliveries (subscription, tenant_id, event_key, id) where state = 'dead';

create table :"schema".attempts (
    id bigint generated always as identity primary key,
    subscription integer not null references :"schema".subscriptions on delete cascade,
    event_id uuid not null,
    day date not null,
    attempt integer not null,
    outcome text not null,
    error text not null,
    message text not null,
    traceback text,
    seconds real not null,
    finished_at timestamptz not null default clock_timestamp()
);
create index attempts_event_idx on :"schema".attempts (event_id, subscription);
create index attempts_day_idx on :"schema".attempts (day);

create table :"schema".audit (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    actor text not null,
    action text not null,
    target text not null,
    detail json,
    count bigint,
    allowed boolean not null default true
);

-- The fence of a handler's transaction, at its end: locks the lease row if it still has this epoch, else fails.
create function :"schema".require_epoch(
    of_subscription integer, of_partition integer, of_epoch bigint, of_transaction xid8
) returns void
language plpgsql set search_path = :"schema", pg_catalog, pg_temp as $$
begin
    if pg_current_xact_id_if_assigned() is distinct from of_transaction then
        raise exception 'this is another transaction' using errcode = 'HF002';
    end if;
    perform from leases
    where subscription = of_subscription and partition = of_partition and epoch = of_epoch
        and owner is not null
    for key share;
    if not found then
        raise exception 'the lease has another epoch now' using errcode = 'HF001';
    end if;
end
$$;
