-- 0007 samples
-- Why:   charts of the last hours, of what all workers did, without a system that gathers metrics.
-- Phase: pre; workers of the previous release write none.
-- Locks: none that matter, everything is new.
-- Undo:  drop the table; the charts are lost with it, and nothing else.

create table :"schema".samples (
    at timestamptz not null,
    worker uuid not null,
    subscription integer,
    position bigint,
    delivered bigint not null default 0,
    failed bigint not null default 0,
    retried bigint not null default 0,
    dead bigint not null default 0,
    durations json,
    constraint sample_of_the_log_or_of_a_subscription check ((subscription is null) = (position is not null))
);
comment on table :"schema".samples is
    'What each worker counted, minute by minute. A row without a subscription says how far the log had got.';
create index samples_at_idx on :"schema".samples (at);
