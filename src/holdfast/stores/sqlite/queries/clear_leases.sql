delete from leases where subscription = :subscription;
