select w.id, w.host, w.pid, w.version,
    array(select s.name from :"schema".subscriptions as s where s.id = any(w.subscriptions) order by s.name) as subscriptions,
    owned.leases, w.draining, owned.leases > 0 or w.heartbeat_at > clock_timestamp() - interval '1 minute' as live,
    w.started_at, w.heartbeat_at
from :"schema".workers as w
cross join lateral (
    select count(*) as leases from :"schema".leases as l where l.owner = w.id and l.lease_until > clock_timestamp()
) as owned
order by w.started_at, w.id;
