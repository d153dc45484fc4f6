-- Dead deliveries with the last error of each, the latest parked first. The content may be in the log or in the row.
select d.id, s.name, d.event_id, d.event_name, d.tenant_id, d.event_key, d.attempts, d.put_offs, d.reason,
    a.error, a.message, d.updated_at, coalesce(e.occurred_at, d.occurred_at) as occurred_at,
    coalesce(e.payload, d.payload) as payload, coalesce(e.headers, d.headers) as headers
from :"schema".deliveries as d
join :"schema".subscriptions as s on s.id = d.subscription
left join :"schema".event_log as e on e.id = d.event_id and e.day = d.day
left join lateral (
    select error, message from :"schema".attempts
    where event_id = d.event_id and subscription = d.subscription order by id desc limit 1
) as a on true
where d.id = any(%(deliveries)s::bigint[])
order by d.id desc;
