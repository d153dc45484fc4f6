insert into subscriptions (name, patterns, partitions, ordering, on_dead, replayable, start_horizon, start_position,
    created_at, updated_at)
values (:name, :patterns, :partitions, :ordering, :on_dead, :replayable, :horizon, :position, :now, :now)
returning id;
