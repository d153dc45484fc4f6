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

-- The next events of a window to seal, in the order of positions, with the digests of what they carry. Those of
-- transactions that "done" did not know yet have a higher position than all that it shows: a column's default gives a
-- row its transaction before its position. So the first branch begins behind what is sealed; "is true" keeps the planner
-- from sorting the whole window for each page. The second branch has what was under way, wherever it lies, looked for one
-- transaction after the other, and "+ 0", as the planner would else walk through all positions for a few late ones.
-- A function, so that it is not compiled just in time, which the planner's guess of a thousand such transactions leads to
-- and which takes far longer than the page.
create function :"schema".seal_page(done pg_snapshot, open pg_snapshot, after bigint, highest bigint, most integer)
returns table (event_position bigint, id uuid, day date, occurred_at timestamptz, tenant_id text, event_name text,
    event_key text, headers bytea, payload bytea)
language sql stable rows 5000 set jit = off
begin atomic
    select found.position, found.id, found.day, found.occurred_at, found.tenant_id, found.event_name, found.event_key,
        sha256(convert_to(found.headers::text, 'UTF8')), sha256(convert_to(found.payload::text, 'UTF8'))
    from (
        (select e.* from :"schema".event_log as e
        where (e.txid >= pg_snapshot_xmax(seal_page.done)) is true
            and e.position > greatest(seal_page.after, seal_page.highest)
            and pg_visible_in_snapshot(e.txid, seal_page.open)
        order by e.position limit seal_page.most)
        union all
        (select late.*
        from pg_snapshot_xip(seal_page.done) as running(txid), lateral (
            select e.* from :"schema".event_log as e
            where e.txid = running.txid and e.position + 0 > seal_page.after
                and pg_visible_in_snapshot(e.txid, seal_page.open)
            offset 0) as late
        order by late.position limit seal_page.most)
        order by position limit seal_page.most) as found
    order by found.position;
end;
