-- How far the log had got, minute by minute.
select at, max(position) from :"schema".samples
where at >= %(since)s and subscription is null
group by at order by at;
