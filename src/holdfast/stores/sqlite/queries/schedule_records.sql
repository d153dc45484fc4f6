select name, rule, zone, missed, tenant_id, next_at, last_at, paused_at, paused_by from schedules order by name;
