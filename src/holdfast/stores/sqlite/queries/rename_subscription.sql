update subscriptions set name = :new_name, updated_at = :now where id = :subscription;
