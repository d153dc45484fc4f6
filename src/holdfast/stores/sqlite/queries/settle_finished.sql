delete from deliveries where id = :delivery and subscription = :subscription and claim = :claim and state = 'running';
