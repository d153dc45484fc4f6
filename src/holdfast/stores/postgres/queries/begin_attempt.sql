update :"schema".deliveries set attempts = attempts + 1, claim = claim + 1, updated_at = clock_timestamp()
where id = %(delivery)s and state = 'running' returning attempts, claim;
