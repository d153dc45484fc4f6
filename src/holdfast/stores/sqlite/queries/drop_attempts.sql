delete from attempts
where event_id in (select id from event_log where position <= :position)
    and not exists (
        select 1 from deliveries as d
        where d.subscription = attempts.subscription and d.event_id = attempts.event_id);
