-- Data keys as they are kept, wrapped, in the order of their ids.
select k.id, k.tenant_id, k.event_key, k.master, k.wrapped, k.created_at, k.retired_at
from :"schema".subject_keys as k where k.id > %(after)s::uuid order by k.id limit %(limit)s;
