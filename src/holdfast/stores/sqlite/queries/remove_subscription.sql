-- Leases, cursors, deliveries and attempts go with it; receipts go with their events.
delete from subscriptions where id = :subscription;
