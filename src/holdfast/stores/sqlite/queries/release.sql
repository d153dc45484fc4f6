update leases set owner = null, lease_until = null, clean = :clean
where subscription = :subscription and partition = :partition and epoch = :epoch and owner = :worker;
