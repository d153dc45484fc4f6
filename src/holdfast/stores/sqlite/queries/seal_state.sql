-- How far the log is sealed, and when somebody last compared it with the seals and had the right to say so.
select (select count(*) from seal_days) as days, (select coalesce(sum(events), 0) from seal_days) as events,
    (select max(sealed_at) from seal_days) as sealed_at,
    (select e.occurred_at from event_log as e where e.position = s.highest) as until,
    max(0, (select coalesce(max(position), 0) from event_log) - s.highest) as behind,
    v.at as verified_at, v.detail
from sealing as s
left join (select at, detail from audit where action = 'verify' order by id desc limit 1) as v on true;
