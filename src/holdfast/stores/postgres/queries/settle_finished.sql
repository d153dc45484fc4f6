delete from :"schema".deliveries as d
using unnest(%(deliveries)s::bigint[], %(claims)s::integer[]) as f(id, claim)
where d.id = f.id and d.claim = f.claim and d.state = 'running';
