update :"schema".deliveries as d set state = r.state, attempts = r.attempts, put_offs = r.put_offs,
    due_at = clock_timestamp() + make_interval(secs => r.due_in), reason = coalesce(r.reason, d.reason),
    updated_at = clock_timestamp()
from unnest(%(deliveries)s::bigint[], %(claims)s::integer[], %(states)s::text[], %(attempts)s::integer[], %(put_offs)s::integer[],
    %(due_in)s::float8[], %(reasons)s::text[]) as r(id, claim, state, attempts, put_offs, due_in, reason)
where d.id = r.id and d.claim = r.claim and d.state = 'running';
