-- Events between two positions that a horizon shows and a filter means, in their order: as many as there is room for in so
-- many bytes, one at least. "matching" says how many there are in all. Texts as bytes: what is not UTF-8 is found out.
with looked as materialized (
    select e.position, length(cast(e.payload as blob)) as size
    from event_log as e
    where e.position > :after and e.position <= :until_position and e.position <= :horizon
        and (:name is null or holdfast_matches(:name, e.event_name))
        and (:tenant_id is null or e.tenant_id = :tenant_id)
        and (:key is null or e.event_key = :key)
        and (:since is null or e.occurred_at >= :since)
        and (:until is null or e.occurred_at < :until)
), sized as materialized (
    select position, count(*) over () as matching, sum(size) over (order by position) - size as before from looked
)
select e.position, e.id, e.occurred_at, cast(e.tenant_id as blob) as tenant_id, cast(e.event_name as blob) as event_name,
    cast(e.event_key as blob) as event_key, cast(e.payload as blob) as payload, cast(e.headers as blob) as headers,
    sized.matching
from sized join event_log as e on e.position = sized.position
where sized.before < :max_bytes
order by e.position;
