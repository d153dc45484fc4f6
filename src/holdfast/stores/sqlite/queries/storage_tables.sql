-- Tables with their estimated rows: what their numbers span, both ends asked for by themselves, as in "log_length". Of
-- receipts, which have none, nobody knows without counting.
select 'attempts' as table_name, coalesce((select max(id) from attempts) - (select min(id) from attempts) + 1, 0) as rows
union all
select 'audit', coalesce((select max(id) from audit) - (select min(id) from audit) + 1, 0)
union all
select 'deliveries', coalesce((select max(id) from deliveries) - (select min(id) from deliveries) + 1, 0)
union all
select 'event_log', coalesce((select max(position) from event_log) - (select min(position) from event_log) + 1, 0)
union all
select 'receipts', null
union all
select 'scheduled', coalesce((select max(number) from scheduled) - (select min(number) from scheduled) + 1, 0)
union all
select 'schedules', count(*) from schedules
union all
select 'subscriptions', count(*) from subscriptions;
