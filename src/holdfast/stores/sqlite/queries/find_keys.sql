-- The data keys in use of some subjects, and those with some ids, in whatever state.
select k.id, k.tenant_id, k.event_key, k.master, k.wrapped, k.retired_at is not null as retired
from json_each(:subjects) as s
join subject_keys as k on k.tenant_id = json_extract(s.value, '$.tenant_id')
    and coalesce(k.event_key, '') = coalesce(json_extract(s.value, '$.event_key'), '')
where k.retired_at is null
union all
select k.id, k.tenant_id, k.event_key, k.master, k.wrapped, k.retired_at is not null
from json_each(:ids) as given
join subject_keys as k on k.id = given.value;
