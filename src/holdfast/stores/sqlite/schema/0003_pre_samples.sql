-- 0003 samples
-- Why:   charts of the last hours, of what all workers did, without a system that gathers metrics.
-- Phase: pre; workers of the previous release write none.
-- Locks: the file's write lock for a few milliseconds.
-- Undo:  drop the table; the charts are lost with it, and nothing else.

-- What each worker counted, minute by minute. A row without a subscription says how far the log had got.
create table samples (
    at text not null,
    worker text not null,
    subscription integer,
    position integer,
    delivered integer not null default 0,
    failed integer not null default 0,
    retried integer not null default 0,
    dead integer not null default 0,
    durations text check (durations is null or json_valid(durations)),
    constraint sample_of_the_log_or_of_a_subscription check ((subscription is null) = (position is not null))
);
create index samples_at_idx on samples (at);
