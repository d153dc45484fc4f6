-- What was written while the clock was ahead waits, now that it has stepped back, for as long as it was to wait then.
update deliveries
set due_at = strftime('%Y-%m-%dT%H:%M:%f', julianday(:now) + max(julianday(due_at) - julianday(updated_at), 0)) || '000Z',
    updated_at = :now
where state in ('pending', 'retrying') and updated_at > :soon;
