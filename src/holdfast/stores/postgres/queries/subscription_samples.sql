-- What each worker did for each subscription that there still is, minute by minute.
select s.name, p.at, p.delivered, p.failed, p.retried, p.dead, p.durations
from :"schema".samples as p join :"schema".subscriptions as s on s.id = p.subscription
where p.at >= %(since)s and p.durations is not null
order by s.name, p.at;
