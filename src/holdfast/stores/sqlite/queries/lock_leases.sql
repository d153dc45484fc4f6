-- All leases of a subscription; the write lock keeps workers from taking or renewing one meanwhile.
select partition, owner is not null and lease_until > :now as live, epoch
from leases where subscription = :subscription order by partition;
