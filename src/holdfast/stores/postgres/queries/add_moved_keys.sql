insert into :"schema".subject_keys (id, tenant_id, event_key, master, wrapped, created_at, retired_at)
select given.id, given.tenant_id, given.key, given.master, given.wrapped, given.created_at, given.retired_at
from json_to_recordset(%(keys)s::text::json) as given(id uuid, tenant_id text, key text, master text, wrapped text,
    created_at timestamptz, retired_at timestamptz)
on conflict do nothing;
