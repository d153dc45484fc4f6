-- 0001 tables
-- Why:   the log, subscriptions, leases, cursors, receipts, deliveries and the operator's records.
-- Phase: pre; there is no release before this one.
-- Locks: the file's write lock for a few milliseconds.
-- Undo:  dropping the tables loses every event; there is no other way back.
-- Times are UTC text, YYYY-MM-DDTHH:MM:SS.ffffffZ, so that they sort. Ids of events are UUIDs in lower case.

create table schema_migrations (
    version integer primary key,
    name text not null,
    applied_at text not null
);

create table meta (
    only_row integer primary key check (only_row = 1),
    store_id text not null,
    -- Grows when somebody registers, pauses, replays, retries or discards; workers then reload.
    generation integer not null default 1
);
insert into meta (only_row, store_id) values (1, lower(hex(randomblob(16))));

-- One writer at a time: the order of positions is the order of commits. AUTOINCREMENT: a position is never used again.
create table event_log (
    position integer primary key autoincrement check (position > 0),
    id text not null unique constraint id_is_a_uuid_in_lower_case check (
        typeof(id) = 'text'
        and id glob '????????-????-????-????-????????????'
        and length(replace(id, '-', '')) = 32
        and replace(id, '-', '') not glob '*[^0-9a-f]*'
        and id <> '00000000-0000-0000-0000-000000000000'),
    occurred_at text not null constraint occurred_at_is_utc_text check (
        typeof(occurred_at) = 'text'
        and occurred_at glob
            '????-??-??T??:??:??.[0-9][0-9][0-9][0-9][0-9][0-9]Z'
        and substr(occurred_at, 1, 4) <> '0000'
        and coalesce(strftime('%Y-%m-%dT%H:%M:%S', substr(occurred_at, 1, 19), '+0 days') = substr(occurred_at, 1, 19), 0)),
    tenant_id text not null constraint tenant_id_length check (
        typeof(tenant_id) = 'text' and length(tenant_id) between 1 and 255 and instr(tenant_id, char(0)) = 0),
    event_name text not null constraint event_name_segments check (
        typeof(event_name) = 'text'
        and length(cast(event_name as blob)) between 1 and 200
        and instr(event_name, char(0)) = 0
        and event_name not glob '*[^A-Za-z0-9_:/.-]*'
        and event_name not glob '.*'
        and event_name not glob '*.'
        and event_name not glob '*..*'),
    event_key text constraint event_key_length check (
        event_key is null
        or (typeof(event_key) = 'text' and length(event_key) between 1 and 255 and instr(event_key, char(0)) = 0)),
    payload text not null constraint payload_is_json check (typeof(payload) = 'text' and json_valid(payload)),
    headers text constraint headers_are_json check (
        headers is null or (typeof(headers) = 'text' and json_valid(headers)))
);

-- "new.position" is -1 where the statement gives none; an explicit -1 meets the check of the column.
create trigger event_log_gives_positions before insert on event_log when new.position <> -1
begin
    select raise(abort, 'position is given by the log: leave it out');
end;

create table subscriptions (
    id integer primary key autoincrement,
    name text not null unique check (length(name) between 1 and 200),
    patterns text not null check (json_valid(patterns)),
    partitions integer not null check (partitions between 1 and 1024),
    ordering text not null check (ordering in ('key', 'none')),
    on_dead text not null check (on_dead in ('continue', 'hold')),
    replayable integer not null,
    -- Events after start_horizon belong to the subscription, and of those before it the ones from start_position on.
    start_horizon integer not null,
    start_position integer not null,
    paused_at text,
    paused_by text,
    created_at text not null,
    updated_at text not null
);

create table leases (
    subscription integer not null references subscriptions on delete cascade,
    partition integer not null,
    owner text,
    lease_until text,
    ttl real not null default 0, -- seconds that its owner takes it for
    epoch integer not null default 0,
    -- The cursor is exact: nothing beyond it was ever handled.
    clean integer not null default 1,
    crashes integer not null default 0,
    primary key (subscription, partition)
) without rowid;

create table cursors (
    subscription integer not null references subscriptions on delete cascade,
    partition integer not null,
    done integer not null,
    open integer,
    position integer not null default 0,
    updated_at text not null,
    primary key (subscription, partition)
) without rowid;

create table receipts (
    event_id text not null,
    subscription integer not null,
    processed_at text not null,
    attempts integer not null default 1,
    primary key (event_id, subscription)
) without rowid;

create table workers (
    id text primary key,
    host text not null,
    boot_id text not null,
    pid integer not null,
    pid_started text not null,
    version text not null,
    subscriptions text not null check (json_valid(subscriptions)),
    tripped text not null default '[]' check (json_valid(tripped)),
    draining integer not null default 0,
    started_at text not null,
    heartbeat_at text not null
);

-- The highest position at a time: how old an event in the log is at least, whatever its occurred_at says.
create table snapshots (
    at text primary key,
    horizon integer not null
) without rowid;

create table replays (
    id integer primary key autoincrement,
    subscription integer not null references subscriptions on delete cascade,
    filters text not null check (json_valid(filters)),
    rate real not null,
    total integer not null,
    done integer not null default 0,
    state text not null default 'running' check (state in ('running', 'finished', 'cancelled')),
    actor text not null,
    created_at text not null,
    finished_at text
);

create table deliveries (
    id integer primary key autoincrement,
    subscription integer not null references subscriptions on delete cascade,
    partition integer not null,
    event_id text not null,
    position integer not null,
    tenant_id text not null,
    event_key text,
    event_name text not null,
    state text not null check (state in ('pending', 'retrying', 'running', 'dead', 'discarded')),
    attempts integer not null default 0,
    put_offs integer not null default 0,
    claim integer not null default 0, -- how often it was taken into hand: what is written about an earlier time is void
    due_at text not null,
    replay integer references replays on delete set null,
    reason text,
    created_at text not null,
    updated_at text not null,
    -- Filled when retention deletes the event of a dead letter.
    payload text,
    headers text,
    occurred_at text,
    unique (subscription, event_id)
);
create index deliveries_unsettled_idx on deliveries (subscription, id)
    where state in ('pending', 'retrying', 'running');
create index deliveries_due_idx on deliveries (subscription, due_at, partition)
    where state in ('pending', 'retrying', 'running');
create index deliveries_key_idx on deliveries (subscription, tenant_id, event_key, id);
create index deliveries_dead_key_idx on deliveries (subscription, tenant_id, event_key, id) where state = 'dead';
create index deliveries_position_idx on deliveries (position, subscription);
create index deliveries_replay_idx on deliveries (replay) where replay is not null;

create table attempts (
    id integer primary key autoincrement,
    subscription integer not null references subscriptions on delete cascade,
    event_id text not null,
    attempt integer not null,
    outcome text not null,
    error text not null,
    message text not null,
    traceback text,
    seconds real not null,
    finished_at text not null
);
create index attempts_event_idx on attempts (event_id, subscription);
create index attempts_subscription_idx on attempts (subscription);

create table audit (
    id integer primary key autoincrement,
    at text not null,
    actor text not null,
    action text not null,
    target text not null,
    detail text check (json_valid(detail)),
    count integer,
    allowed integer not null default 1
);
