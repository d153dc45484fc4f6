-- How far every subscription is behind, under the nearest minute: the first of the workers that live writes it for all.
insert into :"schema".samples (at, worker, subscription, lag, lag_seconds)
select date_trunc('minute', clock_timestamp() + interval '30 seconds'), %(worker)s, s.id, b.unsettled + d.unsettled,
    greatest(0, extract(epoch from clock_timestamp() - least(b.waiting_since, d.waiting_since)))
from :"schema".subscriptions as s
cross join lateral :"schema".backlog(s.id, %(bound)s::integer, null) as b
cross join lateral (
    select count(*) as unsettled, min(created_at) as waiting_since from :"schema".deliveries
    where subscription = s.id and state in ('pending', 'retrying', 'running')
) as d
where %(worker)s = (
    select w.id from :"schema".workers as w
    where not w.draining and w.heartbeat_at > clock_timestamp() - interval '1 minute' order by w.id limit 1);
