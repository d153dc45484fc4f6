-- How far the log is sealed, and when somebody last compared it with the seals and had the right to say so.
select (select count(*) from :"schema".seal_days) as days, (select coalesce(sum(events), 0)::bigint from :"schema".seal_days) as events,
    (select max(sealed_at) from :"schema".seal_days) as sealed_at,
    (select e.occurred_at from :"schema".event_log as e where e.position = s.highest limit 1) as until,
    greatest(0, (select coalesce(max(position), 0) from :"schema".event_log) - s.highest) as behind,
    v.at as verified_at, v.detail
from :"schema".sealing as s
left join (select at, detail from :"schema".audit where action = 'verify' order by id desc limit 1) as v on true;
