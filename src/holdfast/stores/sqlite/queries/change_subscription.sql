update subscriptions
set patterns = :patterns, ordering = :ordering, on_dead = :on_dead, replayable = :replayable,
    behind_retention = :behind_retention, updated_at = :now
where id = :id;
