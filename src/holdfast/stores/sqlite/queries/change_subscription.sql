update subscriptions
set patterns = :patterns, ordering = :ordering, on_dead = :on_dead, replayable = :replayable, updated_at = :now
where id = :id;
