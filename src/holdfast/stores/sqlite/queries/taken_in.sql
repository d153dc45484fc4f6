select id, event_id, claim from deliveries
where subscription = :subscription and partition = :partition and state = 'running'
    and event_id in (select value from json_each(:ids))
order by id;
