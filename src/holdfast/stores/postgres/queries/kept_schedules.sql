-- Schedules as they are kept.
select name, rule, zone, missed, tenant_id, next_at, last_at, not_before, paused_at, paused_by, created_at
from :"schema".schedules order by name;
