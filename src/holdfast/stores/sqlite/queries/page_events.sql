-- A page of the log, newest first.
select e.position, e.id, e.tenant_id, e.event_name, e.event_key, page.status, page.retries, e.occurred_at,
    page.processed_at, length(cast(e.payload as blob)) as payload_bytes
from event_log as e join event_store as page on page.id = e.id
where (:before is null or e.position < :before)
    and (:event_id is null or e.id = :event_id)
    and (:name is null or holdfast_matches(:name, e.event_name))
    and (:tenant_id is null or e.tenant_id = :tenant_id)
    and (:key is null or e.event_key = :key)
    and (:since is null or e.occurred_at >= :since)
    and (:until is null or e.occurred_at < :until)
order by e.position desc limit :limit;
