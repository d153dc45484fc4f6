-- 0015 kept for
-- Why:   status, dashboard and "holdfast retention" went by 30 days, whatever the workers keep: retention that comes near to a
--        laggard was seen too late where they keep less.
-- Phase: pre; workers of the previous release leave the columns empty.
-- Locks: a short exclusive lock on workers, which gets two empty columns.
-- Undo:  drop the columns.

alter table :"schema".workers add column retention double precision, add column retention_warning double precision;
comment on column :"schema".workers.retention is
    'Seconds for which it keeps settled events, infinity for ever; null: a release before said nothing.';
