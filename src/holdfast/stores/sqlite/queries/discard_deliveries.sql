-- Settled without handling; the row stays as the record of it. What a worker has in hand is left alone.
update deliveries set state = 'discarded', updated_at = :now
where id in (select value from json_each(:deliveries))
    and (state = 'dead' or :held and state in ('pending', 'retrying'))
returning id;
