-- Leases, cursors, deliveries and attempts go with it; receipts go with their day.
delete from :"schema".subscriptions where id = %(subscription)s;
