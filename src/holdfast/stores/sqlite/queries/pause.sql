update subscriptions set paused_at = :now, paused_by = :actor where name = :name and paused_at is null returning id;
