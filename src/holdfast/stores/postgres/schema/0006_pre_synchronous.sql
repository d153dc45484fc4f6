-- 0006 synchronous
-- Why:   where commits are asynchronous by default, a crash of the server forgets what a worker was told is committed: the
--        effect of a handler, which is then made again behind later events of its key, or an epoch, which a second owner
--        then gets too. Publishes have had this from the beginning.
-- Phase: pre.
-- Locks: share row exclusive on four tables; it waits for handlers' transactions, in turns in which others pass.
-- Undo:  roll forward.

create trigger commit_synchronously before insert or update or delete on :"schema".subscriptions
    for each statement execute function :"schema".commit_synchronously();
alter table :"schema".subscriptions enable always trigger commit_synchronously;
create trigger commit_synchronously before insert or update on :"schema".leases
    for each statement execute function :"schema".commit_synchronously();
alter table :"schema".leases enable always trigger commit_synchronously;
create trigger commit_synchronously before insert or update or delete on :"schema".deliveries
    for each statement execute function :"schema".commit_synchronously();
alter table :"schema".deliveries enable always trigger commit_synchronously;
create trigger commit_synchronously before insert on :"schema".receipts
    for each statement execute function :"schema".commit_synchronously();
alter table :"schema".receipts enable always trigger commit_synchronously;
