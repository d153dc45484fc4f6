-- Delivery rows of a tenant, a key or both that have content of their own, or say, as their attempts do, what went wrong.
select found.id, null as day, found.event_id, found.payload = :mask as payload_is_mask, found.headers,
    found.texts_are_masked
from (
    select d.id, d.event_id, d.payload, d.headers, coalesce(d.reason, :word) = :word and not exists (
            select 1 from attempts as a
            where a.event_id = d.event_id and a.subscription = d.subscription
                and (a.message <> :word or a.traceback is not null)) as texts_are_masked
    from deliveries as d
    where d.id > :after
        and (:tenant_id is null or d.tenant_id = :tenant_id)
        and (:key is null or d.event_key = :key)
) as found
where found.payload is not null or not found.texts_are_masked
order by found.id limit :limit;
