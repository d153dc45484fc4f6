-- What is on record of the attempts at some events, in the order in which they were made.
select a.event_id, s.name, a.attempt, a.outcome, a.error, a.message, a.traceback, a.seconds, a.finished_at
from :"schema".attempts as a join :"schema".subscriptions as s on s.id = a.subscription
where a.event_id = any(%(ids)s::uuid[]) order by a.id;
