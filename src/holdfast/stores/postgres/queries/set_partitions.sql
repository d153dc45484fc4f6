update :"schema".subscriptions set partitions = %(partitions)s, updated_at = clock_timestamp() where id = %(subscription)s;
