-- One statement, and so one snapshot for all partitions: what it does not show is still to come.
update :"schema".cursors set done = pg_current_snapshot(), open = null, position = 0, updated_at = clock_timestamp()
where subscription = %(subscription)s;
