-- Nobody's, not clean, and above every epoch that a worker may still believe in.
update :"schema".leases set owner = null, lease_until = null, epoch = epoch + 1, clean = false, crashes = 0
where subscription = %(subscription)s;
