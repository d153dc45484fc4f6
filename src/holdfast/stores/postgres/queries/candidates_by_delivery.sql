-- Events to look at, newest first: those that some subscription has a delivery row of this state for.
with part as materialized (
    select distinct on (d.position) d.position, d.day, d.event_id, d.created_at
    from :"schema".deliveries as d
    where d.state = %(delivery_state)s::text and d.position < coalesce(%(before)s::bigint, 9223372036854775807)
    order by d.position desc limit %(limit)s
)
select part.position, part.day, coalesce(e.occurred_at, part.created_at) as occurred_at
from part left join :"schema".event_log as e on e.id = part.event_id and e.day = part.day
order by part.position desc;
