delete from :"schema".samples where at < clock_timestamp() - interval '48 hours';
