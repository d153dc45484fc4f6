-- Of some delivery rows the last error, with the end of its traceback, which has the innermost frame and the message.
select d.id, s.name, d.event_id, d.updated_at, d.reason, a.error, a.message,
    right(a.traceback, length(a.message) + 1000) as traceback
from :"schema".deliveries as d
join :"schema".subscriptions as s on s.id = d.subscription
left join lateral (
    select error, message, traceback from :"schema".attempts
    where event_id = d.event_id and subscription = d.subscription order by id desc limit 1
) as a on true
where d.id = any(%(deliveries)s::bigint[])
order by d.id desc;
