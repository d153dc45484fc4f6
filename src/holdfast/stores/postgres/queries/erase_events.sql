-- The one UPDATE of the log. What cursors, windows and snapshots go by (position, txid, day, slot) stays as it is. The range
-- keeps a server without statistics from reading all of the log.
update :"schema".event_log as e set payload = %(mask)s::text::json, headers = item.headers::json
from json_to_recordset(%(rows)s::text::json) as item(number bigint, day integer, headers text)
where e.position between %(first)s::bigint and %(last)s::bigint
    and e.position = item.number and e.day = date '2000-01-01' + item.day;
