-- An attempt that is on record already is the same settlement again, whose first answer was lost.
insert into :"schema".attempts (subscription, event_id, day, attempt, outcome, error, message, traceback, seconds)
select a.subscription, a.event_id, date '2000-01-01' + a.day, a.attempt, a.outcome, a.error, a.message, a.traceback, a.seconds
from unnest(%(subscriptions)s::integer[], %(ids)b::uuid[], %(days)s::integer[], %(attempts)s::integer[],
    %(outcomes)s::text[], %(errors)s::text[], %(messages)s::text[], %(tracebacks)s::text[], %(seconds)s::real[])
    with ordinality as a(subscription, event_id, day, attempt, outcome, error, message, traceback, seconds, n)
where not exists (
    select from :"schema".attempts as known
    where known.event_id = a.event_id and known.subscription = a.subscription and known.attempt = a.attempt
        and known.outcome = a.outcome and known.error = a.error and known.seconds = a.seconds
        and known.finished_at > clock_timestamp() - interval '1 hour')
order by a.n;
