-- The log as it is, in the order of positions, to be compared with the seals: of some days what lies between the first
-- and the last position that is sealed for them.
select e.position, cast(e.id as blob) as id, null as day, cast(e.occurred_at as blob) as occurred_at,
    cast(e.tenant_id as blob) as tenant_id, cast(e.event_name as blob) as event_name, cast(e.event_key as blob) as event_key,
    case when e.headers is not null then holdfast_sha256(cast(e.headers as blob)) end as headers,
    holdfast_sha256(cast(e.payload as blob)) as payload
from event_log as e
where e.position > :after
    and e.position >= case when :first_day = '0001-01-01' then 0 else coalesce(
        (select min(s.first) from seal_segments as s where s.day between :first_day and :last_day), 0) end
    and e.position <= case when :last_day = '9999-12-31' then e.position else coalesce(
        (select max(s.last) from seal_segments as s where s.day between :first_day and :last_day), 0) end
order by e.position limit :limit;
