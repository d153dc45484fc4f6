-- Deliveries that a subscription has not settled, nor will: the rows stay as the record of it.
update deliveries set state = 'discarded', reason = 'skipped', updated_at = :now
where subscription = :subscription and state in ('pending', 'retrying', 'running')
returning id;
