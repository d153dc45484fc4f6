-- Replays as they are kept, in the order of their numbers.
select r.id, s.name, r.filters, r.rate, r.total, r.done, r.state, r.actor, r.created_at, r.finished_at
from :"schema".replays as r join :"schema".subscriptions as s on s.id = r.subscription
where r.id > %(after)s::bigint order by r.id limit %(limit)s;
