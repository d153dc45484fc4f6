-- AUTOINCREMENT's own record: it stays when retention deletes the newest events, and goes back with a rollback.
select coalesce((select seq from sqlite_sequence where name = 'event_log'), 0) as horizon, generation from meta;
