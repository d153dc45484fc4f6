update subscriptions set partitions = :partitions, updated_at = :now where id = :subscription;
