-- With whether it has stopped before its end and can be taken up again.
select r.id, s.name, r.filters, r.rate, r.total, r.done, r.state, r.actor, r.created_at, r.finished_at,
    r.until_position is not null and (r.state = 'cancelled' or r.state = 'running'
        and r.advanced_at < clock_timestamp() - make_interval(secs => greatest(60, 3 / r.rate))) as stopped
from :"schema".replays as r join :"schema".subscriptions as s on s.id = r.subscription
order by r.id desc limit %(limit)s;
