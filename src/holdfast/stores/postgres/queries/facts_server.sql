-- What doctor asks of the server; no table of ours is needed.
select current_setting('server_version_num')::integer as version, current_setting('server_version') as version_text,
    current_database()::text as database, current_user::text as role, pg_is_in_recovery() as standby,
    (extract(epoch from clock_timestamp()) * 1000)::bigint as clock_millis,
    current_setting('synchronous_commit') as synchronous_commit, current_setting('fsync') as fsync,
    current_setting('full_page_writes') as full_page_writes,
    -- Null where there is no such schema; without the right to use it, asking for a table in it would be an error.
    (select has_schema_privilege(oid, 'usage') from pg_namespace where nspname = %(schema)s) as usage,
    exists (select from pg_class where relname = 'meta' and relnamespace = (
        select oid from pg_namespace where nspname = %(schema)s)) as tables,
    array(
        select coalesce('role ' || r.rolname, '') || coalesce(' database ' || d.datname, '')
        from pg_db_role_setting as s left join pg_roles as r on r.oid = s.setrole left join pg_database as d on d.oid = s.setdatabase
        where 'synchronous_commit=off' = any(s.setconfig) and (s.setdatabase = 0 or d.datname = current_database())
    ) as asynchronous,
    array(
        select format('transaction of %%s (pid %%s, %%s) open for %%s min', coalesce(usename, '?'), pid,
            coalesce(nullif(application_name, ''), 'unnamed'), floor(extract(epoch from clock_timestamp() - xact_start) / 60))
        from pg_stat_activity where xact_start < clock_timestamp() - interval '10 minutes' and backend_xmin is not null
        union all
        select format('prepared transaction %%s of %%s, %%s min old', quote_literal(gid), owner,
            floor(extract(epoch from clock_timestamp() - prepared) / 60))
        from pg_prepared_xacts where prepared < clock_timestamp() - interval '10 minutes'
        union all
        select format('replication slot %%s, %%s transactions behind, %%s', slot_name,
            greatest(age(xmin), age(catalog_xmin)), case when active then 'active' else 'nobody uses it' end)
        from pg_replication_slots where greatest(age(xmin), age(catalog_xmin)) > 1000000
    ) as holding_back;
