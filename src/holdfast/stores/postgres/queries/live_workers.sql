select id, host, boot_id, pid, pid_started, version, subscriptions, draining
from :"schema".workers
where heartbeat_at > clock_timestamp() - make_interval(secs => %(ttl)s)
    and heartbeat_at < clock_timestamp() + make_interval(secs => 2 * %(ttl)s)
order by id;
