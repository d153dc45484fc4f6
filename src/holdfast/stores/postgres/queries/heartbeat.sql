insert into :"schema".workers (id, host, boot_id, pid, pid_started, version, subscriptions, draining, tripped, retention,
    retention_warning)
values (%(id)s, %(host)s, %(boot_id)s, %(pid)s, %(pid_started)s, %(version)s, %(subscriptions)s::integer[], %(draining)s,
    %(tripped)s::integer[], %(retention)s::float8, %(retention_warning)s::float8)
on conflict (id) do update set heartbeat_at = clock_timestamp(), subscriptions = excluded.subscriptions,
    draining = excluded.draining, tripped = excluded.tripped;
