-- The slow path of old or foreign ids: one writer of an id at a time, whatever day it would land on.
select pg_advisory_xact_lock(hashtextextended(event_id, 7026))
from json_array_elements_text(cast(%(ids)s as text)::json) as event_id order by event_id;
