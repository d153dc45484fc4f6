update :"schema".scheduled set refused_at = clock_timestamp() where id = any(%(ids)s::uuid[]);
