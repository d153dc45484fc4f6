-- What start-up checks: who the server is, whether it is the one that the tables were made on, and what may go wrong.
select m.store_id, m.system_identifier, (pg_control_system()).system_identifier as server_identifier,
    pg_is_in_recovery() as standby, row_security_active(':"schema".event_log') as row_security,
    (select coalesce(max(version), 0) from :"schema".schema_migrations) as version,
    (select coalesce(max(pg_snapshot_xmin(done)::text::bigint), 0) from :"schema".cursors) as highest_xid,
    pg_snapshot_xmax(pg_current_snapshot())::text::bigint as server_xid,
    current_setting('transaction_read_only') = 'on' as read_only
from :"schema".meta as m;
