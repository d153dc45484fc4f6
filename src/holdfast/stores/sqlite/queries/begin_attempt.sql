update deliveries set attempts = attempts + 1, claim = claim + 1, updated_at = :now
where id = :delivery and subscription = :subscription and state = 'running'
returning attempts, claim;
