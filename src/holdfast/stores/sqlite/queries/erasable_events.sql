-- Events of a tenant, a key or both in a part of the log, with what tells whether they are masked already, and their attempts:
-- a worker that had one in hand has written them since.
select e.position, null as day, e.id, e.payload = :mask as payload_is_mask, e.headers,
    not exists (
        select 1 from attempts as a
        where a.event_id = e.id and (a.message <> :word or a.traceback is not null)) as texts_are_masked
from event_log as e
where e.position > :after and e.position <= :until_position
    and (:tenant_id is null or e.tenant_id = :tenant_id)
    and (:key is null or e.event_key = :key)
order by e.position;
