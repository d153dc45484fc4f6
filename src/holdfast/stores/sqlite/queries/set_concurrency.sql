update subscriptions set concurrency = :concurrency, updated_at = :now
where name = :name and concurrency is not :concurrency returning id;
