update :"schema".subscriptions set name = %(new_name)s, updated_at = clock_timestamp() where id = %(subscription)s;
