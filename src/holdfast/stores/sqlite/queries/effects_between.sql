-- Events with a cause in a part of the log.
select e.id, e.position, null as day, case when json_valid(e.headers) then json_extract(e.headers, '$.causation_id') end as cause
from event_log as e
where e.position > :after and e.position <= :until_position and e.headers is not null and case when json_valid(e.headers) then json_extract(e.headers, '$.causation_id') end is not null
order by e.position;
