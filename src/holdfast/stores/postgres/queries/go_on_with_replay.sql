-- Take up again what was cancelled, or what nobody has advanced for a minute, or for three of its pauses.
update :"schema".replays as r set state = 'running', finished_at = null, advanced_at = clock_timestamp()
from :"schema".subscriptions as s
where r.id = %(replay)s and s.id = r.subscription and r.until_position is not null and (r.state = 'cancelled'
    or r.state = 'running' and r.advanced_at < clock_timestamp() - make_interval(secs => greatest(60, 3 / r.rate)))
returning r.subscription, s.name, r.filters, r.rate, r.done, r.position, r.until_position;
