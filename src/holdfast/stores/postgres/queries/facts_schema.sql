-- What doctor asks of our tables.
select (select coalesce(max(version), 0) from :"schema".schema_migrations) as version,
    m.system_identifier = (pg_control_system()).system_identifier
        and pg_snapshot_xmax(pg_current_snapshot())::text::bigint >= (
            select coalesce(max(pg_snapshot_xmin(done)::text::bigint), 0) from :"schema".cursors) as same_server,
    row_security_active(':"schema".event_log') as row_security,
    (select count(*) from (select from :"schema".event_log_default limit 1000) as strays) as in_default,
    (select max(to_date(right(c.relname, 8), 'YYYYMMDD')) - (clock_timestamp() at time zone 'UTC')::date
        from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
        where i.inhparent = ':"schema".event_log'::regclass and c.relname ~ '^event_log_\d{8}$') as days_ahead,
    (select count(*) from :"schema".snapshots where at > clock_timestamp() + interval '5 minutes') as from_the_future,
    array(
        select wanted.privilege || ' on ' || wanted.name
        from (values ('event_log', 'select'), ('event_log', 'insert'), ('subscriptions', 'insert'),
            ('subscriptions', 'update'), ('leases', 'update'), ('cursors', 'update'), ('receipts', 'insert'),
            ('deliveries', 'insert'), ('deliveries', 'update'), ('deliveries', 'delete'), ('attempts', 'insert'),
            ('workers', 'insert'), ('workers', 'update'), ('workers', 'delete'), ('snapshots', 'insert'),
            ('snapshots', 'delete'), ('replays', 'insert'), ('replays', 'update'), ('audit', 'insert'),
            ('meta', 'update'), ('incarnation', 'insert'), ('samples', 'insert'), ('samples', 'delete'),
            ('let_go', 'insert'), ('let_go', 'update'),
            ('scheduled', 'insert'), ('scheduled', 'update'), ('scheduled', 'delete'), ('schedules', 'insert'),
            ('schedules', 'update'), ('event_position', 'select')) as wanted(name, privilege)
        where not has_table_privilege(':"schema".' || wanted.name, wanted.privilege)
    ) as missing,
    pg_total_relation_size(':"schema".deliveries') as deliveries_bytes,
    (select sum(pg_total_relation_size(i.inhrelid)) from pg_inherits as i
        where i.inhparent = ':"schema".event_log'::regclass)::bigint as log_bytes
from :"schema".meta as m;
