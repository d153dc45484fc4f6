-- What some events caused, by the search index "causation"; in its own words.
select e.id::text, e.position, e.day, substring(e.headers::text from '"causation_id"\s*:\s*"([^"\\]+)"') as cause
from :"schema".event_log as e
where e.headers is not null
    and left(substring(e.headers::text from '"causation_id"\s*:\s*"([^"\\]+)"'), 200) = any(%(causes)s::text[])
limit %(limit)s;
