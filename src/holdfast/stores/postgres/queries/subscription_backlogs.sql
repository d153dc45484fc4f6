-- What each subscription has still to see, of one tenant or of all, counted up to a bound, and when it last moved. All in
-- one statement: to plan the function takes as long as to carry it out once.
select s.id, b.unsettled, b.estimated, b.waiting_since, b.moved_at
from :"schema".subscriptions as s
cross join lateral :"schema".backlog(s.id, %(bound)s::integer, %(tenant_id)s::text) as b;
