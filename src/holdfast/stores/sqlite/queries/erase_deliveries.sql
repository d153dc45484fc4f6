-- A row without content has its event in the log still.
update deliveries
set payload = case when payload is not null then :mask end,
    headers = case when payload is not null then json_extract(item.value, '$.headers') end,
    reason = case when reason is not null then :word end
from json_each(:rows) as item
where deliveries.id = json_extract(item.value, '$.number');
