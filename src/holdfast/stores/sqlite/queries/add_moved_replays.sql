-- Finished ones: their places in the other store's log say nothing here.
insert into replays (id, subscription, filters, rate, total, done, state, actor, created_at, finished_at)
select json_extract(r.value, '$.number'), s.id, json_extract(r.value, '$.filters'), json_extract(r.value, '$.rate'),
    json_extract(r.value, '$.total'), json_extract(r.value, '$.done'), json_extract(r.value, '$.state'),
    json_extract(r.value, '$.actor'), json_extract(r.value, '$.created_at'), json_extract(r.value, '$.finished_at')
from json_each(:replays) as r join subscriptions as s on s.name = json_extract(r.value, '$.subscription')
where true
on conflict (id) do nothing;
