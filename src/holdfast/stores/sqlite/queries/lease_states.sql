select subscription, partition, owner, owner is null or lease_until <= :now
        or (julianday(lease_until) - julianday(:now)) * 86400 > 2 * ttl as free
from leases where subscription in (select value from json_each(:subscriptions))
order by subscription, partition;
