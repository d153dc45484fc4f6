-- The log of some days as it is, in the order of positions, to be compared with the seals.
select e.position, e.id, e.day, e.occurred_at, e.tenant_id, e.event_name, e.event_key,
    sha256(convert_to(e.headers::text, 'UTF8')) as headers, sha256(convert_to(e.payload::text, 'UTF8')) as payload
from :"schema".event_log as e
where e.day between %(first_day)s::date and %(last_day)s::date
    and e.position >= %(after)s::bigint and (e.position, e.id) > (%(after)s::bigint, %(after_id)s::uuid)
order by e.position, e.id limit %(limit)s;
