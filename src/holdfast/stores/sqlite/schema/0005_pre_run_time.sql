-- 0005 run time
-- Why:   what an operator changes while workers run: one tenant of a subscription is paused (its events wait as a range
--        of the log, with a cursor of their own), and how many events are handled at once.
-- Phase: pre; workers of the previous release know of neither: they deliver what is paused, as many at once as declared.
-- Locks: the file's write lock for a few milliseconds.
-- Undo:  drop the table and the columns: what was paused is delivered.

create table paused_tenants (
    subscription integer not null references subscriptions on delete cascade,
    tenant_id text not null,
    paused_at text not null,
    paused_by text not null,
    primary key (subscription, tenant_id)
) without rowid;
-- While tenants are deferred: how far each of them and all others have got, and the cursor with which that holds.
alter table cursors add column deferred text check (deferred is null or json_valid(deferred));
-- Events handled at once in a process, as an operator has said; null: as the program declares.
alter table subscriptions add column concurrency integer check (concurrency between 1 and 10000);
