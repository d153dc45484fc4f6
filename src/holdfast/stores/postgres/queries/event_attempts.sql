select s.name, a.attempt, a.outcome, a.error, a.message, a.traceback, a.seconds, a.finished_at
from :"schema".attempts as a join :"schema".subscriptions as s on s.id = a.subscription
where a.event_id = %(event_id)s::uuid
order by s.name, a.id;
