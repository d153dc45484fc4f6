update subscriptions set paused_at = null, paused_by = null where name = :name and paused_at is not null returning id;
