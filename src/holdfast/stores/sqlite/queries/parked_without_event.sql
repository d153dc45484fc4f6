-- Events that have delivery rows and are gone from the log, in the order of their ids.
select distinct d.event_id from deliveries as d
where d.event_id > :after and not exists (select 1 from event_log as e where e.id = d.event_id)
order by d.event_id limit :limit;
