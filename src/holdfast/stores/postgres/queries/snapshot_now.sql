-- Taken in a transaction of its own, before the storing one has an id. Null when a fresh one is stored already.
select pg_current_snapshot()::text as snap, (clock_timestamp() at time zone 'UTC')::date as day
where not exists (select from :"schema".snapshots
    where at between clock_timestamp() - interval '55 seconds' and clock_timestamp());
