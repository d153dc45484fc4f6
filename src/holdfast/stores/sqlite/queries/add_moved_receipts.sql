insert into receipts (event_id, subscription, processed_at, attempts)
select json_extract(r.value, '$.event_id'), s.id, json_extract(r.value, '$.processed_at'), json_extract(r.value, '$.attempts')
from json_each(:receipts) as r join subscriptions as s on s.name = json_extract(r.value, '$.subscription')
where true
on conflict (event_id, subscription) do nothing;
