-- A row without content has its event in the log still.
update :"schema".deliveries as d
set payload = case when d.payload is not null then %(mask)s::text::json end,
    headers = case when d.payload is not null then item.headers::json end,
    reason = case when d.reason is not null then %(word)s::text end
from json_to_recordset(%(rows)s::text::json) as item(number bigint, headers text)
where d.id = item.number;
