with recursive numbers (partition) as (
    select 0 union all select partition + 1 from numbers where partition + 1 < :partitions
)
insert into cursors (subscription, partition, done, open, position, updated_at)
select :subscription, partition, :done, :open, :position, :now from numbers;
