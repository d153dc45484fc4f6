-- Delivery rows of a tenant, a key or both that have content of their own, or say, as their attempts do, what went wrong.
select found.id, null::integer as day, found.event_id, found.payload::text = %(mask)s::text as payload_is_mask,
    found.headers::text as headers, found.texts_are_masked
from (
    select d.id, d.event_id, d.payload, d.headers, coalesce(d.reason, %(word)s::text) = %(word)s::text and not exists (
            select from :"schema".attempts as a
            where a.event_id = d.event_id and a.subscription = d.subscription
                and (a.message <> %(word)s::text or a.traceback is not null)) as texts_are_masked
    from :"schema".deliveries as d
    where d.id > %(after)s::bigint
        and (%(tenant_id)s::text is null or d.tenant_id = %(tenant_id)s::text)
        and (%(key)s::text is null or d.event_key = %(key)s::text)
) as found
where found.payload is not null or not found.texts_are_masked
order by found.id limit %(limit)s::bigint;
