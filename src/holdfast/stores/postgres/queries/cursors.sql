select c.subscription, c.partition, c.done::text, c.open::text, c.position, c.deferred::text
from :"schema".cursors as c
join unnest(%(subscriptions)s::integer[], %(partitions)s::integer[]) as wanted(subscription, partition)
    on c.subscription = wanted.subscription and c.partition = wanted.partition;
