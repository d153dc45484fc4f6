select s.name, l.partition, l.owner, l.lease_until, l.owner is not null and l.lease_until > :now as live,
    l.epoch, l.clean, l.crashes, c.done, c.open, c.position, c.updated_at
from leases as l
join subscriptions as s on s.id = l.subscription
join cursors as c on c.subscription = l.subscription and c.partition = l.partition
order by s.name, l.partition;
