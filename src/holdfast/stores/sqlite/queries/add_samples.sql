-- What a worker has counted for one subscription, or, without one, how far the log has got; under the nearest minute.
insert into samples (at, worker, subscription, position, delivered, failed, retried, dead, durations)
select strftime('%Y-%m-%dT%H:%M:00.000000Z', :now, '+30 seconds'), :worker, :subscription,
    case when :subscription is null then coalesce((select seq from sqlite_sequence where name = 'event_log'), 0) end,
    :delivered, :failed, :retried, :dead, :durations;
