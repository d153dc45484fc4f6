-- Of days that retention has dropped the chain stays, without what it says of each event.
update :"schema".seal_segments set entries = null
where entries is not null and day = any(array(select day from :"schema".seal_days where dropped_at is not null))
returning number;
