-- How far a subscription is behind, under the nearest minute.
insert into samples (at, worker, subscription, lag, lag_seconds)
select strftime('%Y-%m-%dT%H:%M:00.000000Z', :now, '+30 seconds'), :worker, :subscription, :unsettled + count(*),
    max(0, 86400 * (julianday(:now)
        - julianday(coalesce(min(:waiting_since, min(created_at)), :waiting_since, min(created_at)))))
from deliveries where subscription = :subscription and state in ('pending', 'retrying', 'running');
