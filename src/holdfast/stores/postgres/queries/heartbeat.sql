insert into :"schema".workers (id, host, boot_id, pid, pid_started, version, subscriptions, draining, tripped)
values (%(id)s, %(host)s, %(boot_id)s, %(pid)s, %(pid_started)s, %(version)s, %(subscriptions)s::integer[], %(draining)s,
    %(tripped)s::integer[])
on conflict (id) do update set heartbeat_at = clock_timestamp(), subscriptions = excluded.subscriptions,
    draining = excluded.draining, tripped = excluded.tripped;
