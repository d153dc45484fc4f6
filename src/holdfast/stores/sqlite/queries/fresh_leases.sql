-- Nobody's, not clean, and above every epoch that a worker may still believe in.
with recursive numbers (partition) as (
    select 0 union all select partition + 1 from numbers where partition + 1 < :partitions
)
insert into leases (subscription, partition, epoch, clean) select :subscription, partition, :epoch, 0 from numbers;
