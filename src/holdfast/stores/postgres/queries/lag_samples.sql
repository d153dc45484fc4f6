-- How far each subscription that there still is was behind, minute by minute.
select s.name, p.at, max(p.lag), max(p.lag_seconds)
from :"schema".samples as p join :"schema".subscriptions as s on s.id = p.subscription
where p.at >= %(since)s and p.lag is not null
group by s.name, p.at order by s.name, p.at;
