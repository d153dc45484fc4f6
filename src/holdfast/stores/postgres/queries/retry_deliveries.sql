-- Fresh attempts, due now; what the attempts before said is kept.
update :"schema".deliveries set state = 'pending', attempts = 0, put_offs = 0, due_at = clock_timestamp(),
    updated_at = clock_timestamp()
where id = any(%(deliveries)s::bigint[]) and state = 'dead'
returning id;
