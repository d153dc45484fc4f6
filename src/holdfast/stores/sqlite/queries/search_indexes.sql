-- The search indexes that there may be, and what there is of them. Each that finds events has their time, so that a search
-- goes straight to the time it asks for, and ends with the position by itself.
with wanted(name, definition) as (values
    ('time', '(occurred_at)'),
    ('tenant', '(tenant_id, occurred_at)'),
    ('key', '(event_key, occurred_at) where event_key is not null'),
    ('name', '(event_name, occurred_at)'),
    ('correlation', '(case when json_valid(headers) then json_extract(headers, ''$.correlation_id'') end, occurred_at)'),
    ('causation', '(case when json_valid(headers) then json_extract(headers, ''$.causation_id'') end)'))
select wanted.name, wanted.definition, i.name is not null as ready, i.name is not null as begun, null as bytes, 0 as building
from wanted left join sqlite_master as i on i.type = 'index' and i.name = 'event_log_by_' || wanted.name
order by wanted.name;
