update :"schema".deliveries as d set attempts = d.attempts + 1, claim = d.claim + 1, updated_at = clock_timestamp()
where d.id = %(delivery)s and d.state = 'running'
returning d.attempts, d.claim, d.replay is null and exists (
    select from :"schema".receipts as r
    where r.event_id = d.event_id and r.day = d.day and r.subscription = d.subscription) as handled;
