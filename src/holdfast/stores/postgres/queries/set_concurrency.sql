update :"schema".subscriptions set concurrency = %(concurrency)s, updated_at = clock_timestamp()
where name = %(name)s and concurrency is distinct from %(concurrency)s::integer returning id;
