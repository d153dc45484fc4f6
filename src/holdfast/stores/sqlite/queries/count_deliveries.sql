select count(*) from deliveries where subscription = :subscription;
