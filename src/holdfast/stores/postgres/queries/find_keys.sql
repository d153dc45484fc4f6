-- The data keys in use of some subjects, and those with some ids, in whatever state.
select k.id, k.tenant_id, k.event_key, k.master, k.wrapped, k.retired_at is not null as retired
from json_to_recordset(%(subjects)s::text::json) as s(tenant_id text, event_key text)
join :"schema".subject_keys as k on k.tenant_id = s.tenant_id and coalesce(k.event_key, '') = coalesce(s.event_key, '')
where k.retired_at is null
union all
select k.id, k.tenant_id, k.event_key, k.master, k.wrapped, k.retired_at is not null
from json_array_elements_text(%(ids)s::text::json) as given(id)
join :"schema".subject_keys as k on k.id = given.id::uuid;
