select wanted.value from json_each(:ids) as wanted
where exists (select 1 from receipts as r where r.event_id = wanted.value and r.subscription = :subscription)
    or exists (select 1 from deliveries as d where d.subscription = :subscription and d.event_id = wanted.value);
