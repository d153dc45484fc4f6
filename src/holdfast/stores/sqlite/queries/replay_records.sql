-- With whether it has stopped before its end and can be taken up again.
select r.id, s.name, r.filters, r.rate, r.total, r.done, r.state, r.actor, r.created_at, r.finished_at,
    r.until_position is not null and (r.state = 'cancelled' or r.state = 'running'
        and julianday(r.advanced_at) < julianday(:now) - max(60, 3 / r.rate) / 86400.0) as stopped
from replays as r join subscriptions as s on s.id = r.subscription
order by r.id desc limit :limit;
