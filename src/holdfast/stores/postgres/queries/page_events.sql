-- A page of the log, newest first.
select e.position, e.id, e.tenant_id, e.event_name, e.event_key,
    :"schema".event_status(e.id, e.day, e.event_name, e.slot, e.txid, e.position) as status,
    :"schema".event_retries(e.id) as retries, e.occurred_at,
    :"schema".event_processed_at(e.id, e.day) as processed_at, octet_length(e.payload::text) as payload_bytes
from :"schema".event_log as e
where (%(before)s::bigint is null or e.position < %(before)s::bigint)
    and (%(event_id)s::uuid is null or e.id = %(event_id)s::uuid)
    and (%(regex)s::text is null or e.event_name ~ %(regex)s::text)
    and (%(tenant_id)s::text is null or e.tenant_id = %(tenant_id)s::text)
    and (%(key)s::text is null or e.event_key = %(key)s::text)
    and (%(since)s::timestamptz is null or e.occurred_at >= %(since)s::timestamptz)
    and (%(until)s::timestamptz is null or e.occurred_at < %(until)s::timestamptz)
order by e.position desc limit %(limit)s;
