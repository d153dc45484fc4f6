-- Of some delivery rows the last error, with the end of its traceback, which has the innermost frame and the message.
select d.id, s.name, d.event_id, d.updated_at, d.reason, a.error, a.message,
    substr(a.traceback, -(length(a.message) + 1000)) as traceback
from deliveries as d
join subscriptions as s on s.id = d.subscription
left join attempts as a on a.id = (
    select max(id) from attempts where event_id = d.event_id and subscription = d.subscription)
where d.id in (select value from json_each(:deliveries))
order by d.id desc;
