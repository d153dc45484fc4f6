-- Events with a cause in a part of the log.
select e.id::text, e.position, e.day, substring(e.headers::text from '"causation_id"\s*:\s*"([^"\\]+)"') as cause
from :"schema".event_log as e
where e.position > %(after)s::bigint and e.position <= %(until_position)s::bigint
    and e.headers is not null and substring(e.headers::text from '"causation_id"\s*:\s*"([^"\\]+)"') is not null
order by e.position;
