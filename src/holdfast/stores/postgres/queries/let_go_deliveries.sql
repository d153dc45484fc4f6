-- Settled without handling. What a worker has in hand, too: what it writes about its attempt no longer counts.
update :"schema".deliveries set state = 'discarded', reason = 'let go', updated_at = clock_timestamp()
where id = any(%(deliveries)s::bigint[]) and state in ('pending', 'retrying', 'running')
returning id;
