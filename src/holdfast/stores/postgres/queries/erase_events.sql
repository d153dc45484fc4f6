-- The one UPDATE of the log. What cursors, windows and snapshots go by (position, txid, day, slot) stays as it is.
update :"schema".event_log as e set payload = %(mask)s::text::json, headers = item.headers::json
from json_to_recordset(%(rows)s::text::json) as item(number bigint, day integer, headers text)
where e.position = item.number and e.day = date '2000-01-01' + item.day;
