-- Those of the future (the clock stepped back), and those before the newest one that is older than needed.
delete from snapshots
where at > :now or at < (select max(at) from snapshots where at <= :since);
