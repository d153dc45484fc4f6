-- Of the events given, in their order, those that a filter means. Without "offset 0" the status would be computed for
-- each column that uses it. What no JSON reader takes (\u0000, half of a pair of surrogates) would be an error of "#>>".
select e.position, e.id, e.tenant_id, e.event_name, e.event_key, found.status,
    :"schema".event_retries(e.id) as retries, e.occurred_at,
    case when found.status = 'processed' then :"schema".event_processed_at(e.id, e.day) end as processed_at,
    octet_length(e.payload::text) as payload_bytes
from unnest(%(positions)s::bigint[], %(days)s::integer[]) with ordinality as given(position, day, n)
join :"schema".event_log as e on e.day = date '2000-01-01' + given.day and e.position = given.position
cross join lateral (
    select :"schema".event_status(e.id, e.day, e.event_name, e.slot, e.txid, e.position) as status offset 0
) as found
where (%(event_id)s::uuid is null or e.id = %(event_id)s::uuid)
    and (%(regex)s::text is null or e.event_name ~ %(regex)s::text)
    and (%(tenant_id)s::text is null or e.tenant_id = %(tenant_id)s::text)
    and (%(key)s::text is null or e.event_key = %(key)s::text)
    and (%(since)s::timestamptz is null or e.occurred_at >= %(since)s::timestamptz)
    and (%(until)s::timestamptz is null or e.occurred_at < %(until)s::timestamptz)
    and (%(correlation_id)s::text is null or coalesce(
        substring(e.headers::text from '"correlation_id"\s*:\s*"([^"\\]+)"'), e.id::text) = %(correlation_id)s::text)
    and case
        when %(payload_value)s::text is null then true
        when position('\u' in e.payload::text) > 0
            and regexp_replace(e.payload::text, '\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}', '', 'gi')
                ~* '\\u(0000|d[89a-f][0-9a-f]{2})' then false
        else e.payload #>> %(payload_path)s::text[] = %(payload_value)s::text
            and json_typeof(e.payload #> %(payload_path)s::text[]) in ('string', 'number', 'boolean')
    end
    and (%(status)s::text is null or found.status = %(status)s::text)
order by given.n limit %(limit)s;
