update deliveries
set state = :state, attempts = :attempts, put_offs = :put_offs, due_at = :due_at,
    reason = coalesce(:reason, reason), updated_at = :now
where id = :delivery and subscription = :subscription and claim = :claim and state = 'running';
