-- Events of a tenant, a key or both in a part of the log, with what tells whether they are masked already, and their attempts:
-- a worker that had one in hand has written them since.
select e.position, e.day - date '2000-01-01' as day, e.id, e.payload::text = %(mask)s::text as payload_is_mask,
    e.headers::text as headers, not exists (
        select from :"schema".attempts as a
        where a.event_id = e.id and (a.message <> %(word)s::text or a.traceback is not null)) as texts_are_masked
from :"schema".event_log as e
where e.position > %(after)s::bigint and e.position <= %(until_position)s::bigint
    and (%(tenant_id)s::text is null or e.tenant_id = %(tenant_id)s::text)
    and (%(key)s::text is null or e.event_key = %(key)s::text)
order by e.position;
