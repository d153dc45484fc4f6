-- 0004 seals
-- Why:   an edited, removed or inserted event is to be found: a hash chain over the log for each day, made on request.
-- Phase: pre.
-- Locks: the file's write lock for a few milliseconds.
-- Undo:  roll forward. Without "holdfast seal" the tables stay empty.

-- How far the log is sealed, and up to where retention has dropped events, sealed or not.
create table sealing (
    only_row integer primary key check (only_row = 1),
    step integer not null default 0, -- grows with each change: of two who seal at once, one finds it changed
    done integer not null default 0,
    open integer,
    position integer not null default 0,
    highest integer not null default 0,
    dropped integer not null default 0
);
insert into sealing (only_row) values (1);

-- The end of each day's chain. It stays when retention drops the day.
create table seal_days (
    day text primary key,
    segments integer not null,
    events integer not null,
    head blob not null check (length(head) = 32),
    sealed_at text not null
) without rowid;

-- The links of each day's chain, and 120 bytes for each event of a link: docs/tamper-evidence.md tells which.
create table seal_segments (
    day text not null,
    number integer not null,
    events integer not null,
    first integer not null,
    last integer not null,
    sealed_at text not null,
    digest blob not null check (length(digest) = 32),
    head blob not null check (length(head) = 32),
    entries blob,
    primary key (day, number)
);
create index seal_segments_first_idx on seal_segments (first, day, number) where entries is not null;
create index seal_segments_last_idx on seal_segments (last) where entries is not null;
