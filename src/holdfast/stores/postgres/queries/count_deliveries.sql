select count(*) from :"schema".deliveries where subscription = %(subscription)s;
