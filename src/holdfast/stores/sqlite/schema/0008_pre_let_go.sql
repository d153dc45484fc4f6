-- 0008 let go
-- Why:   a subscription may say that it lets go of what it has not handled when retention comes to it, instead of keeping
--        the log; what it lets go of is written down, and archived first if it says so.
-- Phase: pre; workers of the previous release know of no other choice than to hold.
-- Locks: the file's write lock for a few milliseconds.
-- Undo:  roll forward. With every subscription on 'hold' all is as before.

-- What becomes of events that it has not handled when they are beyond retention.
alter table subscriptions add column behind_retention text not null default 'hold'
    check (behind_retention in ('hold', 'archive', 'drop'));

-- How far letting go has got, up to the position "shown". Whoever goes on after a crash begins at "position", so that what
-- was archived before is archived once.
create table let_go (
    subscription integer primary key references subscriptions on delete cascade,
    shown integer not null,
    position integer not null default 0,
    events integer not null default 0,
    first_position integer,
    last_position integer,
    begun_at text not null,
    finished_at text
);
