-- All leases of a subscription, locked in key order against workers that would take or renew one meanwhile.
select l.partition, l.owner is not null and l.lease_until > clock_timestamp() as live, l.epoch
from :"schema".leases as l where l.subscription = %(subscription)s
order by l.subscription, l.partition for update;
