with recursive numbers (partition) as (
    select 0 union all select partition + 1 from numbers where partition + 1 < :partitions
)
insert into leases (subscription, partition) select :subscription, partition from numbers;
