update deliveries set attempts = attempts + 1, claim = claim + 1, updated_at = :now
where id = :delivery and subscription = :subscription and state = 'running'
returning attempts, claim, replay is null and exists (
    select 1 from receipts as r where r.event_id = deliveries.event_id and r.subscription = deliveries.subscription);
