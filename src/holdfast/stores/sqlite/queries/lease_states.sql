select subscription, partition, owner, owner is null or lease_until <= :now or lease_until > :absurd as free
from leases where subscription in (select value from json_each(:subscriptions))
order by subscription, partition;
