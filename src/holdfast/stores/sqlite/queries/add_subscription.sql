insert into subscriptions (name, patterns, partitions, ordering, on_dead, replayable, behind_retention, start_horizon,
    start_position, created_at, updated_at)
values (:name, :patterns, :partitions, :ordering, :on_dead, :replayable, :behind_retention, :horizon, :position, :now, :now)
returning id;
