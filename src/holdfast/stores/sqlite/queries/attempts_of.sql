-- What is on record of the attempts at some events, in the order in which they were made.
select a.event_id, s.name, a.attempt, a.outcome, a.error, a.message, a.traceback, a.seconds, a.finished_at
from attempts as a join subscriptions as s on s.id = a.subscription
where a.event_id in (select value from json_each(:ids)) order by a.id;
