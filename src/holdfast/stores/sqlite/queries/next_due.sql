select min(due_at) from deliveries
where subscription = :subscription
    and state in ('pending', 'retrying', 'running') and state <> 'running'
    and due_at > :now
    and partition in (select value from json_each(:partitions));
