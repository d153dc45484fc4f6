-- 0009 run time
-- Why:   what an operator changes while workers run: one tenant of a subscription is paused (its events wait as a range
--        of the log, with a cursor of their own), and how many events are handled at once.
-- Phase: pre; workers of the previous release know of neither: they deliver what is paused, as many at once as declared.
-- Locks: a short exclusive lock on cursors and one on subscriptions, which get an empty column.
-- Undo:  drop the table and the columns: what was paused is delivered.

create table :"schema".paused_tenants (
    subscription integer not null references :"schema".subscriptions on delete cascade,
    tenant_id text not null,
    paused_at timestamptz not null default clock_timestamp(),
    paused_by text not null,
    primary key (subscription, tenant_id)
);
alter table :"schema".cursors add column deferred json;
alter table :"schema".subscriptions add column concurrency integer check (concurrency between 1 and 10000);
comment on column :"schema".subscriptions.concurrency is
    'Events handled at once in a process, as an operator has said; null: as the program declares.';
comment on column :"schema".cursors.deferred is
    'While tenants are deferred: how far each of them and all others have got, and the cursor with which that holds.';
