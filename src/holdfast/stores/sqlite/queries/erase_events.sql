-- The one UPDATE of the log. What cursors, windows and snapshots go by, the position, stays as it is.
update event_log set payload = :mask, headers = json_extract(item.value, '$.headers')
from json_each(:rows) as item
where event_log.position = json_extract(item.value, '$.number');
