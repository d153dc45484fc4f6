-- Seconds until the next scheduled event is due.
select extract(epoch from due_at - clock_timestamp())::double precision
from :"schema".scheduled where refused_at is null order by due_at, number limit 1;
