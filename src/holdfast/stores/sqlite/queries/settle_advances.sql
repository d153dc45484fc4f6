update cursors set done = :done, open = :open, position = :position, deferred = :deferred, updated_at = :now
where subscription = :subscription and partition = :partition;
