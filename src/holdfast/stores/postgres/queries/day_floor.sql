-- The first day on which a row that "done" does not show can lie. Such a row has a txid of at least xmin(done), so it
-- was written on or after the day of the newest stored snapshot whose own xid is not above that. Two days less: one
-- for ids that are a day off, one for a clock that stepped back. Later snapshots are those with a higher xid, whatever
-- their time: one of days before tells that the clock was behind meanwhile. Null where no snapshot is old enough.
select least(base.day, (select min(later.day) from :"schema".snapshots as later where later.xid > base.xid),
    (clock_timestamp() at time zone 'UTC')::date) - 2
from (
    select day, xid from :"schema".snapshots where xid <= pg_snapshot_xmin(%(done)s::pg_snapshot) order by xid desc limit 1
) as base;
