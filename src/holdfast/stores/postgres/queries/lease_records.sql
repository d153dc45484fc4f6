select s.name, l.partition, l.owner, l.lease_until, l.owner is not null and l.lease_until > clock_timestamp() as live,
    l.epoch, l.clean, l.crashes, c.done::text, c.open::text, c.position, c.updated_at
from :"schema".leases as l
join :"schema".subscriptions as s on s.id = l.subscription
join :"schema".cursors as c on c.subscription = l.subscription and c.partition = l.partition
order by s.name, l.partition;
