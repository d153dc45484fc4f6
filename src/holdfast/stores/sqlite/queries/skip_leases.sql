-- Nobody's, not clean, and above every epoch that a worker may still believe in.
update leases set owner = null, lease_until = null, epoch = epoch + 1, clean = 0, crashes = 0
where subscription = :subscription;
