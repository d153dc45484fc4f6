-- Nobody's, a dead process's, or, unless patient, expired or impossibly far ahead (the clock stepped back).
select l.subscription, l.partition, l.epoch, l.clean, l.owner is not null as lost, l.crashes, c.done, c.open, c.position,
    c.deferred
from leases as l join cursors as c on c.subscription = l.subscription and c.partition = l.partition
where l.subscription = :subscription
    and (l.owner is null or l.owner in (select value from json_each(:dead))
        or not :patient and (
            l.lease_until <= :now or (julianday(l.lease_until) - julianday(:now)) * 86400 > 2 * l.ttl))
order by l.partition
limit :count;
