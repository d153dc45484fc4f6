-- 0009 kept for
-- Why:   status, dashboard and "holdfast retention" went by 30 days, whatever the workers keep: retention that comes near to a
--        laggard was seen too late where they keep less.
-- Phase: pre; workers of the previous release leave the columns empty.
-- Locks: the file's write lock for a few milliseconds.
-- Undo:  roll forward. With the columns empty all is as before.

-- Seconds for which it keeps settled events, infinity for ever; null: a release before said nothing.
alter table workers add column retention real;
alter table workers add column retention_warning real;
