update leases set lease_until = :until, ttl = :ttl
where owner = :worker and (subscription, partition, epoch) in (
    select json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
    from json_each(:leases))
returning subscription, partition;
