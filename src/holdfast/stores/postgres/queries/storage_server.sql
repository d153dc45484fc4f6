-- The oldest open transaction of the server, as far as this role may see; its own is not meant.
select extract(epoch from clock_timestamp() - begun)::float8 as seconds, owner, application, state, pid
from (
    select xact_start as begun, usename::text as owner, application_name as application, state, pid
    from pg_stat_activity where xact_start is not null and backend_type = 'client backend' and pid <> pg_backend_pid()
    union all
    select prepared, owner::text, gid, 'prepared', null from pg_prepared_xacts
) as opened
order by begun limit 1;
