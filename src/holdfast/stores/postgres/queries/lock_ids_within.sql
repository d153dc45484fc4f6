-- lock_ids through a caller's own connection.
select pg_advisory_xact_lock(hashtextextended(event_id, 7026))
from json_array_elements_text(cast(:ids as text)::json) as event_id order by event_id;
