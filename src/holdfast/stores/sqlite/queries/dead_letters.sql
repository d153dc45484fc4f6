-- Dead deliveries with the last error of each, the latest parked first. The content may be in the log or in the row.
select d.id, s.name, d.event_id, d.event_name, d.tenant_id, d.event_key, d.attempts, d.put_offs, d.reason,
    a.error, a.message, d.updated_at, coalesce(e.occurred_at, d.occurred_at) as occurred_at,
    coalesce(e.payload, d.payload) as payload, coalesce(e.headers, d.headers) as headers
from deliveries as d
join subscriptions as s on s.id = d.subscription
left join event_log as e on e.position = d.position
left join attempts as a on a.id = (
    select max(id) from attempts where event_id = d.event_id and subscription = d.subscription)
where d.id in (select value from json_each(:deliveries))
order by d.id desc;
