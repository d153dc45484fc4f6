-- 0008 seals
-- Why:   an edited, removed or inserted event is to be found: a hash chain over the log for each day, made on request.
-- Phase: pre.
-- Locks: none that matter, everything is new; retention and restore call nothing of it before it is there.
-- Undo:  roll forward. Without "holdfast seal" the tables stay empty.

-- How far the log is sealed. "done" shows what is sealed, but for events whose transaction came after it with a position
-- from before it, which nothing but a forged insert makes. An "open" window is sealed up to "position".
create table :"schema".sealing (
    only_row boolean primary key default true check (only_row),
    step bigint not null default 0,
    done pg_snapshot not null default '3:3:',
    open pg_snapshot,
    position bigint not null default 0,
    highest bigint not null default 0,
    recount boolean not null default false
);
insert into :"schema".sealing default values;
comment on column :"schema".sealing.step is 'Grows with each change: of two who seal at once, one finds it changed.';
comment on column :"schema".sealing.highest is
    'Every event that "done", or the sealed part of "open", shows for the first time has at most this position.';
comment on column :"schema".sealing.recount is
    'After a restore transactions say nothing about what was sealed: the log is compared with the seals once.';

create table :"schema".seal_days (
    day date primary key,
    segments integer not null,
    events bigint not null,
    head bytea not null check (octet_length(head) = 32),
    sealed_at timestamptz not null default clock_timestamp(),
    dropped_at timestamptz
);
comment on table :"schema".seal_days is 'The end of each day''s chain. It stays when retention drops the day.';

create table :"schema".seal_segments (
    day date not null,
    number integer not null,
    events integer not null,
    first bigint not null,
    last bigint not null,
    sealed_at timestamptz not null default clock_timestamp(),
    digest bytea not null check (octet_length(digest) = 32),
    head bytea not null check (octet_length(head) = 32),
    entries bytea,
    primary key (day, number)
);
comment on table :"schema".seal_segments is
    'The links of each day''s chain, and 120 bytes for each event of a link: docs/tamper-evidence.md tells which.';
alter table :"schema".seal_segments alter column entries set storage external;  -- digests do not compress
create index seal_segments_first_idx on :"schema".seal_segments (first, day, number) where entries is not null;
create index seal_segments_day_idx on :"schema".seal_segments (day) where entries is not null;

-- What is sealed must not be forgotten in a crash: transaction ids would be handed out again below it.
create trigger commit_synchronously before update on :"schema".sealing
    for each statement execute function :"schema".commit_synchronously();
alter table :"schema".sealing enable always trigger commit_synchronously;
