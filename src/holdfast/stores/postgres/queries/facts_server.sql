-- What doctor asks of the server; no table of ours is needed. Who made a setting is told in the words of "alter ... reset".
with session as (
    select name, setting, case source
        when 'database' then format('database %%I', current_database())
        when 'user' then format('role %%I', session_user)
        when 'database user' then format('role %%I in database %%I', session_user, current_database())
        when 'global' then 'role all'
        when 'client' then 'DSN'
        else 'server'
    end as owner
    from pg_settings where name in ('synchronous_commit', 'default_transaction_read_only')
)
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
        select concat_ws(' in ',
            case when s.setrole <> 0 then format('role %%I', r.rolname) when s.setdatabase = 0 then 'role all' end,
            case when s.setdatabase <> 0 then format('database %%I', d.datname) end)
        from pg_db_role_setting as s left join pg_roles as r on r.oid = s.setrole
        left join pg_database as d on d.oid = s.setdatabase
        where exists (select from unnest(s.setconfig) as entry where entry ~* '^synchronous_commit=(off|false|no|0)$')
            and (s.setdatabase = 0 or d.datname = current_database())
        union
        select owner from session where name = 'synchronous_commit' and setting = 'off'
    ) as asynchronous_by,
    (select owner from session where name = 'default_transaction_read_only' and setting = 'on'
        and not pg_is_in_recovery()) as read_only_by,
    -- What a transaction has written holds vacuum back as what it sees does. A standby's feedback has no transaction.
    array(
        select format('transaction of %%s (pid %%s, %%s) open for %%s min', coalesce(usename, '?'), pid,
            coalesce(nullif(application_name, ''), 'unnamed'), floor(extract(epoch from clock_timestamp() - xact_start) / 60))
        from pg_stat_activity
        where xact_start < clock_timestamp() - interval '10 minutes' and coalesce(backend_xid, backend_xmin) is not null
        union all
        select format('standby %%s (pid %%s), %%s transactions behind', coalesce(nullif(application_name, ''), 'unnamed'),
            pid, age(backend_xmin))
        from pg_stat_activity
        where backend_type = 'walsender' and xact_start is null and age(backend_xmin) > 1000000
        union all
        select format('prepared transaction %%s of %%s, %%s min old', quote_literal(gid), owner,
            floor(extract(epoch from clock_timestamp() - prepared) / 60))
        from pg_prepared_xacts where prepared < clock_timestamp() - interval '10 minutes'
        union all
        select format('replication slot %%s, %%s transactions behind, %%s', slot_name,
            greatest(age(xmin), age(catalog_xmin)), case when active then 'active' else 'nobody uses it' end)
        from pg_replication_slots where greatest(age(xmin), age(catalog_xmin)) > 1000000
    ) as holding_back;
