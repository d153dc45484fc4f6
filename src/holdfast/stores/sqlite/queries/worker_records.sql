select w.id, w.host, w.pid, w.version,
    (select json_group_array(name) from (
        select s.name from subscriptions as s
        where s.id in (select value from json_each(w.subscriptions)) order by s.name)) as subscriptions,
    (select count(*) from leases as l where l.owner = w.id and l.lease_until > :now) as leases, w.draining,
    w.heartbeat_at > :minute_ago
        or exists (select 1 from leases as l where l.owner = w.id and l.lease_until > :now) as live,
    w.started_at, w.heartbeat_at
from workers as w
order by w.started_at, w.id;
