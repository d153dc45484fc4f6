insert into :"schema".receipts (day, subscription, event_id, processed_at, attempts)
select coalesce(e.day, :"schema".event_day(given.event_id)), s.id, given.event_id, given.processed_at, given.attempts
from json_to_recordset(%(receipts)s::text::json) as given(event_id uuid, subscription text, processed_at timestamptz,
    attempts integer)
join :"schema".subscriptions as s on s.name = given.subscription
left join :"schema".event_log as e on e.id = given.event_id
on conflict (event_id, subscription, day) do nothing;
