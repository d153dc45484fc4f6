-- Subscriptions are paused, or not, as they were in the other store; so is what operators have set.
update subscriptions as s
set (paused_at, paused_by, concurrency, created_at) = (
    select json_extract(g.value, '$.paused_at'), json_extract(g.value, '$.paused_by'), json_extract(g.value, '$.concurrency'),
        json_extract(g.value, '$.created_at')
    from json_each(:subscriptions) as g where json_extract(g.value, '$.name') = s.name)
where s.name in (select json_extract(value, '$.name') from json_each(:subscriptions));
