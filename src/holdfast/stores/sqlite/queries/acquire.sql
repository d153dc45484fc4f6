update leases
set owner = :worker, lease_until = :until, ttl = :ttl, epoch = :epoch, clean = 0, crashes = :crashes
where subscription = :subscription and partition = :partition;
