update cursors set done = :done, open = :open, position = :position, updated_at = :now
where subscription = :subscription and partition = :partition;
