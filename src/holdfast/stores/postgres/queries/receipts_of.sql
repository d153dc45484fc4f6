-- Receipts of some events, by the names of their subscriptions.
select r.event_id, s.name, r.processed_at, r.attempts
from :"schema".receipts as r join :"schema".subscriptions as s on s.id = r.subscription
where r.event_id = any(%(ids)s::uuid[]) order by r.event_id, s.name;
