-- Keep new data keys, but for subjects that have one. ("where true": without it "on conflict" is taken for a join's.)
insert into subject_keys (id, tenant_id, event_key, master, wrapped, created_at)
select json_extract(item.value, '$.id'), json_extract(item.value, '$.tenant_id'), json_extract(item.value, '$.event_key'),
    json_extract(item.value, '$.master'), json_extract(item.value, '$.wrapped'), :now
from json_each(:keys) as item
where true
on conflict do nothing;
