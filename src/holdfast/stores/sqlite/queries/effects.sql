-- What some events caused, by the search index "causation"; in its own words.
select e.id, e.position, null as day, case when json_valid(e.headers) then json_extract(e.headers, '$.causation_id') end as cause
from event_log as e
where case when json_valid(e.headers) then json_extract(e.headers, '$.causation_id') end in (select value from json_each(:causes))
limit :limit;
