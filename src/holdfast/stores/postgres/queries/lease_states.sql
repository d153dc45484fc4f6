select subscription, partition, owner,
    owner is null or lease_until <= clock_timestamp()
        or lease_until > clock_timestamp() + make_interval(secs => 2 * ttl) as free
from :"schema".leases where subscription = any(%(subscriptions)s::integer[]) order by subscription, partition;
