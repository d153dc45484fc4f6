-- 0016 scheduled
-- Why:   events that are published for later, and schedules whose times become events.
-- Phase: pre; workers of the previous release leave both alone, so what is due waits for one of this release.
-- Locks: none that matter, everything is new.
-- Undo:  drop both tables, and with them what waits.

-- Not in the log, where a cursor would have to wait for it, and retention too. A row lives until its time.
create table :"schema".scheduled (
    id uuid primary key constraint id_not_nil check (id <> '00000000-0000-0000-0000-000000000000'),
    number bigint not null generated always as identity,
    due_at timestamptz not null,
    published_at timestamptz not null default clock_timestamp(),
    occurred_at timestamptz constraint occurred_at_of_our_era check (
        occurred_at >= '0001-01-01 00:00:00Z' and occurred_at < '10000-01-01 00:00:00Z'),
    tenant_id text not null constraint tenant_id_length check (length(tenant_id) between 1 and 255),
    event_name text not null constraint event_name_segments check (
        length(event_name) <= 200 and event_name ~ '^[A-Za-z0-9_:/-]+(\.[A-Za-z0-9_:/-]+)*$'),
    event_key text constraint event_key_length check (length(event_key) between 1 and 255),
    payload json not null,
    headers json,
    refused_at timestamptz
);
comment on column :"schema".scheduled.number is 'Of what is due at the same moment, the lower number goes first.';
comment on column :"schema".scheduled.occurred_at is 'As the publisher gave it; null: when it comes into the log.';
comment on column :"schema".scheduled.refused_at is
    'When it was due and another event had its id: it stays here until somebody cancels it.';
create index scheduled_due_idx on :"schema".scheduled (due_at, number) where refused_at is null;
create trigger commit_synchronously before insert or update or delete on :"schema".scheduled
    for each statement execute function :"schema".commit_synchronously();
alter table :"schema".scheduled enable always trigger commit_synchronously;

create table :"schema".schedules (
    name text primary key check (length(name) between 1 and 200),
    rule text not null,
    zone text not null,
    missed text not null check (missed in ('skip', 'once', 'all')),
    tenant_id text not null check (length(tenant_id) between 1 and 255),
    next_at timestamptz not null,
    last_at timestamptz,
    not_before timestamptz not null default clock_timestamp(),
    paused_at timestamptz,
    paused_by text,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp()
);
comment on column :"schema".schedules.next_at is 'The first of its times that has not become an event.';
comment on column :"schema".schedules.not_before is 'When it was made or resumed: times before that are not made up for.';
