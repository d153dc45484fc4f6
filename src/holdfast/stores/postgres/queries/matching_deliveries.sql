-- Ids of delivery rows that a filter means, the latest first.
select d.id
from :"schema".deliveries as d
join :"schema".subscriptions as s on s.id = d.subscription
where (d.state = 'dead' or %(held)s::boolean and d.state in ('pending', 'retrying'))
    and (%(before)s::bigint is null or d.id < %(before)s::bigint)
    and (%(subscription)s::text is null or s.name = %(subscription)s::text)
    and (%(event_id)s::uuid is null or d.event_id = %(event_id)s::uuid)
    and (%(regex)s::text is null or d.event_name ~ %(regex)s::text)
    and (%(tenant_id)s::text is null or d.tenant_id = %(tenant_id)s::text)
    and (%(key)s::text is null or d.event_key = %(key)s::text)
    and (%(since)s::timestamptz is null or d.updated_at >= %(since)s::timestamptz)
    and (%(until)s::timestamptz is null or d.updated_at < %(until)s::timestamptz)
    and (%(error)s::text is null or position(lower(%(error)s::text) in lower(coalesce(d.reason, ''))) > 0 or exists (
        select from :"schema".attempts as a
        where a.id = (select max(id) from :"schema".attempts where event_id = d.event_id and subscription = d.subscription)
            and position(lower(%(error)s::text) in lower(a.error || ' ' || a.message)) > 0))
order by d.id desc limit %(limit)s::bigint;
