-- Settled without handling. What a worker has in hand, too: what it writes about its attempt no longer counts.
update deliveries set state = 'discarded', reason = 'let go', updated_at = :now
where id in (select value from json_each(:deliveries)) and state in ('pending', 'retrying', 'running')
returning id;
