-- How many events of a tenant occurred in the last so many seconds, counted no further than the limit; by the search index of
-- tenants where there is one. "clock_timestamp()" would keep the index from being used: it is another one at every row.
select count(*)::integer from (
    select from :"schema".event_log as e
    where e.tenant_id = %(tenant_id)s::text
        and e.occurred_at >= statement_timestamp() - %(seconds)s::float8 * interval '1 second'
    limit %(limit)s) as recent;
