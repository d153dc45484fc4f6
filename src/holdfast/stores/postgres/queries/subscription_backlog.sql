-- What one subscription has still to see, of one tenant or of all, counted up to a bound, and when it last moved.
select unsettled, estimated, waiting_since, moved_at
from :"schema".backlog(%(subscription)s::integer, %(bound)s::integer, %(tenant_id)s::text);
