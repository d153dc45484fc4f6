-- The log as it is, in the order of positions, to be compared with the seals: of some days what lies between the first
-- and the last position that is sealed for them.
select e.position, e.id, null as day, e.occurred_at, e.tenant_id, e.event_name, e.event_key,
    holdfast_sha256(cast(e.headers as blob)) as headers, holdfast_sha256(cast(e.payload as blob)) as payload
from event_log as e
where e.position > :after
    and e.position >= case when :first_day = '0001-01-01' then 0 else coalesce(
        (select min(s.first) from seal_segments as s where s.day between :first_day and :last_day), 0) end
    and e.position <= case when :last_day = '9999-12-31' then e.position else coalesce(
        (select max(s.last) from seal_segments as s where s.day between :first_day and :last_day), 0) end
order by e.position limit :limit;
