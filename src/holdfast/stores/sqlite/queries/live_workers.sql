select id, host, boot_id, pid, pid_started, version, subscriptions, draining
from workers where heartbeat_at > :since and heartbeat_at < :absurd order by id;
