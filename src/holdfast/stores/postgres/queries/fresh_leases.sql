-- Nobody's, not clean, and above every epoch that a worker may still believe in.
insert into :"schema".leases (subscription, partition, epoch, clean)
select %(subscription)s, partition, %(epoch)s::bigint, false from generate_series(0, %(partitions)s - 1) as partition;
