-- Never back: a window in which it has come further stays. What was deferred went by the cursor before, and is void with it.
update cursors set done = :shown, open = case when position > :shown then open end,
    position = case when position > :shown and open is not null then position else 0 end, deferred = null, updated_at = :now
where subscription = :subscription and done < :shown;
