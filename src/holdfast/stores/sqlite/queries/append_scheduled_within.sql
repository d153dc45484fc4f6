insert into scheduled (id, due_at, published_at, occurred_at, tenant_id, event_name, event_key, payload, headers)
-- append_scheduled through the caller's transaction; see append_within. What is in the log already is left out.
select json_extract(event.value, '$[0]'), json_extract(event.value, '$[7]'), :now, json_extract(event.value, '$[1]'),
    json_extract(event.value, '$[2]'), json_extract(event.value, '$[3]'), json_extract(event.value, '$[4]'),
    json_extract(event.value, '$[5]'), json_extract(event.value, '$[6]')
from json_each(:events) as event
where exists (select 1 from meta where store_id = :store_id)
    and not exists (select 1 from event_log where id = json_extract(event.value, '$[0]'))
order by event.key
on conflict (id) do nothing
returning id;
