-- Receipts of some events, by the names of their subscriptions.
select r.event_id, s.name, r.processed_at, r.attempts
from receipts as r join subscriptions as s on s.id = r.subscription
where r.event_id in (select value from json_each(:ids)) order by r.event_id, s.name;
