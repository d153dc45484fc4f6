delete from :"schema".leases where subscription = %(subscription)s;
