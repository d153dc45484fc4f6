insert into event_log (id, occurred_at, tenant_id, event_name, event_key, payload, headers)
-- Through the caller's transaction: one statement for all events, which writes nothing where the store is another.
-- It begins with "insert", by which Python's sqlite3 module knows that its implicit transaction must begin.
select json_extract(event.value, '$[0]'), json_extract(event.value, '$[1]'), json_extract(event.value, '$[2]'),
    json_extract(event.value, '$[3]'), json_extract(event.value, '$[4]'), json_extract(event.value, '$[5]'),
    json_extract(event.value, '$[6]')
from json_each(:events) as event
where exists (select 1 from meta where store_id = :store_id)
order by event.key
on conflict (id) do nothing
returning id;
