-- How many events of a tenant occurred in the last so many seconds, counted no further than the limit; by the search index of
-- tenants where there is one.
select count(*) from (
    select 1 from event_log
    where tenant_id = :tenant_id
        and occurred_at >= strftime('%Y-%m-%dT%H:%M:%f', :now, '-' || :seconds || ' seconds') || '000Z'
    limit :limit);
