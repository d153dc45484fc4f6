select name, rule, zone, missed, tenant_id, next_at, not_before
from schedules where name in (select value from json_each(:names)) and paused_at is null;
