-- The tenant stands in the detail, where "->>" fails at what no JSON reader takes.
select id, at, actor, action, target, detail, count, allowed
from :"schema".audit
where (%(before)s::bigint is null or id < %(before)s::bigint)
    and (%(actor)s::text is null or actor = %(actor)s::text)
    and (%(action)s::text is null or action = %(action)s::text)
    and (%(target)s::text is null or target = %(target)s::text)
    and (%(allowed)s::boolean is null or allowed = %(allowed)s::boolean)
    and (%(since)s::timestamptz is null or at >= %(since)s::timestamptz)
    and (%(until)s::timestamptz is null or at < %(until)s::timestamptz)
    and (%(tenant_id)s::text is null or case
        when detail::text !~* '\\u(0000|d[89a-f][0-9a-f]{2})' then detail ->> 'tenant_id' end = %(tenant_id)s::text)
order by id desc limit %(limit)s;
