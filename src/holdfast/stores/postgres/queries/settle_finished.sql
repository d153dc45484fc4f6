delete from :"schema".deliveries where id = any(%(deliveries)s::bigint[]) and state = 'running';
