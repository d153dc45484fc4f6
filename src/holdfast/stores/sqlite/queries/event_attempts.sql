select s.name, a.attempt, a.outcome, a.error, a.message, a.traceback, a.seconds, a.finished_at
from attempts as a join subscriptions as s on s.id = a.subscription
where a.event_id = :event_id
order by s.name, a.id;
