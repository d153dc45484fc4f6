-- Of the events given, in their order, those that a filter means.
select e.position, e.id, e.tenant_id, e.event_name, e.event_key, page.status, page.retries, e.occurred_at,
    page.processed_at, length(cast(e.payload as blob)) as payload_bytes
from json_each(:positions) as given
join event_log as e on e.position = given.value
join event_store as page on page.id = e.id
where (:event_id is null or e.id = :event_id)
    and (:name is null or holdfast_matches(:name, e.event_name))
    and (:tenant_id is null or e.tenant_id = :tenant_id)
    and (:key is null or e.event_key = :key)
    and (:since is null or e.occurred_at >= :since)
    and (:until is null or e.occurred_at < :until)
    and (:correlation_id is null or coalesce(
        case when json_valid(e.headers) then json_extract(e.headers, '$.correlation_id') end, e.id) = :correlation_id)
    and (:payload_value is null or holdfast_at(cast(e.payload as blob), :payload_path) = :payload_value)
    and (:status is null or page.status = :status)
order by given.key limit :limit;
