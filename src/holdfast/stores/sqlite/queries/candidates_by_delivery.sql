-- Events to look at, newest first: those that some subscription has a delivery row of this state for.
select d.position, null as day, coalesce(e.occurred_at, max(d.created_at)) as occurred_at
from deliveries as d left join event_log as e on e.position = d.position
where d.state = :delivery_state and d.position < coalesce(:before, 9223372036854775807)
group by d.position
order by d.position desc limit :limit;
