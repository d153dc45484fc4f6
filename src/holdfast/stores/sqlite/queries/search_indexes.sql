-- The search indexes that there may be, and what there is of them. Each ends with the position by itself.
with wanted(name, definition) as (values
    ('time', '(occurred_at)'),
    ('tenant', '(tenant_id)'),
    ('key', '(event_key) where event_key is not null'),
    ('name', '(event_name)'),
    ('correlation', '(case when json_valid(headers) then json_extract(headers, ''$.correlation_id'') end)'),
    ('causation', '(case when json_valid(headers) then json_extract(headers, ''$.causation_id'') end)'))
select wanted.name, wanted.definition, i.name is not null as ready, i.name is not null as begun, null as bytes, 0 as building
from wanted left join sqlite_master as i on i.type = 'index' and i.name = 'event_log_by_' || wanted.name
order by wanted.name;
