insert into attempts (subscription, event_id, attempt, outcome, error, message, traceback, seconds, finished_at)
select s.id, json_extract(a.value, '$.event_id'), json_extract(a.value, '$.attempt'), json_extract(a.value, '$.outcome'),
    json_extract(a.value, '$.error'), json_extract(a.value, '$.message'), json_extract(a.value, '$.traceback'),
    json_extract(a.value, '$.seconds'), json_extract(a.value, '$.finished_at')
from json_each(:attempts) as a join subscriptions as s on s.name = json_extract(a.value, '$.subscription')
order by a.key;
