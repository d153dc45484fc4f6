delete from deliveries where id = :delivery and subscription = :subscription and state = 'running';
