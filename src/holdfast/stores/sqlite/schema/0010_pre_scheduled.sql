-- 0010 scheduled
-- Why:   events that are published for later, and schedules whose times become events.
-- Phase: pre; workers of the previous release leave both alone, so what is due waits for one of this release.
-- Locks: the file's write lock for a few milliseconds.
-- Undo:  drop both tables, and with them what waits.

-- Not in the log, where a cursor would have to wait for it, and retention too. A row lives until its time.
-- Of what is due at the same moment, the lower number goes first. occurred_at: null is when it comes into the log.
-- refused_at: when it was due and another event had its id; it stays here until somebody cancels it.
create table scheduled (
    number integer primary key autoincrement,
    id text not null unique constraint id_is_a_uuid_in_lower_case check (
        typeof(id) = 'text'
        and id glob '????????-????-????-????-????????????'
        and length(replace(id, '-', '')) = 32
        and replace(id, '-', '') not glob '*[^0-9a-f]*'
        and id <> '00000000-0000-0000-0000-000000000000'),
    due_at text not null,
    published_at text not null,
    occurred_at text,
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
        headers is null or (typeof(headers) = 'text' and json_valid(headers))),
    refused_at text
);
create index scheduled_due_idx on scheduled (due_at, number) where refused_at is null;

-- next_at: the first of its times that has not become an event. not_before: when it was made or resumed; times before
-- that are not made up for.
create table schedules (
    name text primary key check (length(name) between 1 and 200),
    rule text not null,
    zone text not null,
    missed text not null check (missed in ('skip', 'once', 'all')),
    tenant_id text not null check (length(tenant_id) between 1 and 255),
    next_at text not null,
    last_at text,
    not_before text not null,
    paused_at text,
    paused_by text,
    created_at text not null,
    updated_at text not null
);
