-- The positions of the first and last event of a replay, null where no such event is stored, and the log's last one.
select (select min(position) from :"schema".event_log where id = %(first_id)s::uuid) as first,
    (select max(position) from :"schema".event_log where id = %(last_id)s::uuid) as last,
    (select coalesce(max(position), 0) from :"schema".event_log) as newest;
