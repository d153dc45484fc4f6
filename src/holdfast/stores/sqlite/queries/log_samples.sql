-- How far the log had got, minute by minute.
select at, max(position) from samples
where at >= :since and subscription is null
group by at order by at;
