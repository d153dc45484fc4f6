-- A dead letter outlives its event: it takes the content along.
update deliveries
set (payload, headers, occurred_at) = (
    select e.payload, e.headers, e.occurred_at from event_log as e where e.position = deliveries.position)
where position <= :position and state = 'dead' and payload is null;
