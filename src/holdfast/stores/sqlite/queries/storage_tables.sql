-- Tables with their estimated rows: what their numbers span. Of receipts, which have none, nobody knows without counting.
select 'attempts' as table_name, coalesce(max(id) - min(id) + 1, 0) as rows from attempts
union all
select 'audit', coalesce(max(id) - min(id) + 1, 0) from audit
union all
select 'deliveries', coalesce(max(id) - min(id) + 1, 0) from deliveries
union all
select 'event_log', coalesce(max(position) - min(position) + 1, 0) from event_log
union all
select 'receipts', null
union all
select 'subscriptions', count(*) from subscriptions;
