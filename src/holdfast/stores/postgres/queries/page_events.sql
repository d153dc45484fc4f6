-- A page of the log, newest first. Without "offset 0" the status would be computed for each column that uses it.
select e.position, e.id, e.tenant_id, e.event_name, e.event_key, found.status,
    :"schema".event_retries(e.id) as retries, e.occurred_at,
    case when found.status = 'processed' then :"schema".event_processed_at(e.id, e.day) end as processed_at,
    octet_length(e.payload::text) as payload_bytes
from :"schema".event_log as e
cross join lateral (
    select :"schema".event_status(e.id, e.day, e.event_name, e.slot, e.txid, e.position) as status offset 0
) as found
where (%(before)s::bigint is null or e.position < %(before)s::bigint)
    and (%(event_id)s::uuid is null or e.id = %(event_id)s::uuid)
    and (%(regex)s::text is null or e.event_name ~ %(regex)s::text)
    and (%(tenant_id)s::text is null or e.tenant_id = %(tenant_id)s::text)
    and (%(key)s::text is null or e.event_key = %(key)s::text)
    and (%(since)s::timestamptz is null or e.occurred_at >= %(since)s::timestamptz)
    and (%(until)s::timestamptz is null or e.occurred_at < %(until)s::timestamptz)
order by e.position desc limit %(limit)s;
