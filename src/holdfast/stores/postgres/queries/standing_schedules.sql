-- A row of nulls beside the time where there are none.
select clock_timestamp(), s.name, s.rule, s.zone, s.missed, s.tenant_id, s.next_at, s.not_before
from (select) as always left join :"schema".schedules as s on s.name = any(%(names)s::text[]) and s.paused_at is null;
