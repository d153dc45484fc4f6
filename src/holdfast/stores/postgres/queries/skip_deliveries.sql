-- Deliveries that a subscription has not settled, nor will: the rows stay as the record of it.
update :"schema".deliveries set state = 'discarded', reason = 'skipped', updated_at = clock_timestamp()
where subscription = %(subscription)s and state in ('pending', 'retrying', 'running')
returning id;
