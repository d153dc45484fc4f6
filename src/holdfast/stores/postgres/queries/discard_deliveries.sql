-- Settled without handling; the row stays as the record of it. What a worker has in hand is left alone.
update :"schema".deliveries set state = 'discarded', updated_at = clock_timestamp()
where id = any(%(deliveries)s::bigint[])
    and (state = 'dead' or %(held)s::boolean and state in ('pending', 'retrying'))
returning id;
