-- 0007 looking
-- Why:   lag is to be charted over time, and a replay whose process ended is to go on where it was.
-- Phase: pre; workers of the previous release fill none of the columns.
-- Locks: the file's write lock for a few milliseconds.
-- Undo:  roll forward.

-- Events that were not settled, and seconds that the oldest waited: in rows of their own, which the first of the living
-- workers writes for every subscription.
alter table samples add column lag integer;
alter table samples add column lag_seconds real;

-- Up to "position" the log was handed over; from there on it is taken up again.
alter table replays add column position integer not null default 0;
alter table replays add column until_position integer;
alter table replays add column advanced_at text;
