insert into :"schema".attempts (subscription, event_id, day, attempt, outcome, error, message, traceback, seconds)
select a.subscription, a.event_id, date '2000-01-01' + a.day, a.attempt, a.outcome, a.error, a.message, a.traceback, a.seconds
from unnest(%(subscriptions)s::integer[], %(ids)b::uuid[], %(days)s::integer[], %(attempts)s::integer[],
    %(outcomes)s::text[], %(errors)s::text[], %(messages)s::text[], %(tracebacks)s::text[], %(seconds)s::real[])
    with ordinality as a(subscription, event_id, day, attempt, outcome, error, message, traceback, seconds, n)
order by a.n;
