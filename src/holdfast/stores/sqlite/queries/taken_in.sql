select id, event_id, claim, exists (
    select 1 from receipts as r where r.event_id = deliveries.event_id and r.subscription = deliveries.subscription)
from deliveries
where subscription = :subscription and partition = :partition and state = 'running'
    and event_id in (select value from json_each(:ids))
order by id;
