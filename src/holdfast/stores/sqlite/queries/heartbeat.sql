insert into workers (id, host, boot_id, pid, pid_started, version, subscriptions, draining, tripped, retention,
    retention_warning, started_at, heartbeat_at)
values (:id, :host, :boot_id, :pid, :pid_started, :version, :subscriptions, :draining, :tripped, :retention,
    :retention_warning, :now, :now)
on conflict (id) do update
set heartbeat_at = excluded.heartbeat_at, subscriptions = excluded.subscriptions, draining = excluded.draining,
    tripped = excluded.tripped;
