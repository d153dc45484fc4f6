-- What was stored by then. "occurred_at" would not do: publishers may give any time from the year 1 to 9999.
select max(horizon) from snapshots where at <= :since;
