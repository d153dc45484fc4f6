-- What was written while the clock was ahead waits, now that it has stepped back, for as long as it was to wait then.
with ahead as materialized (
    select id from :"schema".deliveries
    where state in ('pending', 'retrying') and updated_at > clock_timestamp() + interval '5 seconds'
    order by id for no key update skip locked
)
update :"schema".deliveries as d
set due_at = clock_timestamp() + greatest(d.due_at - d.updated_at, interval '0'), updated_at = clock_timestamp()
from ahead where d.id = ahead.id;
