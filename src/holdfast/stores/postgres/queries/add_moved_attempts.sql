insert into :"schema".attempts (subscription, event_id, day, attempt, outcome, error, message, traceback, seconds, finished_at)
select s.id, given.event_id, coalesce(e.day, :"schema".event_day(given.event_id)), given.attempt, given.outcome,
    given.error, given.message, given.traceback, given.seconds, given.finished_at
from rows from (json_to_recordset(%(attempts)s::text::json) as (event_id uuid, subscription text, attempt integer,
    outcome text, error text, message text, traceback text, seconds real, finished_at timestamptz)) with ordinality
    as given(event_id, subscription, attempt, outcome, error, message, traceback, seconds, finished_at, n)
join :"schema".subscriptions as s on s.name = given.subscription
left join :"schema".event_log as e on e.id = given.event_id
order by given.n;
