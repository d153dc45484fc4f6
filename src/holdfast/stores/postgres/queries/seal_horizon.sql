-- What can be seen now, of which server, and whether that can be trusted: see read_new.
select pg_current_snapshot()::text, (select i.id::text from :"schema".incarnation as i),
    pg_current_xact_id_if_assigned() is null and not pg_is_in_recovery()
        and not row_security_active(':"schema".event_log') as trusted;
