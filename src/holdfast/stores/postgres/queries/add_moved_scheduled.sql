-- Of one that was moved before, when it is due may have been changed since.
insert into :"schema".scheduled (id, due_at, published_at, occurred_at, tenant_id, event_name, event_key, payload, headers,
    refused_at)
select given.id, given.due_at, given.published_at, given.occurred_at, given.tenant_id, given.name, given.key,
    given.payload::json, given.headers::json, given.refused_at
from json_to_recordset(%(scheduled)s::text::json) as given(id uuid, due_at timestamptz, published_at timestamptz,
    occurred_at timestamptz, tenant_id text, name text, key text, payload text, headers text, refused_at timestamptz)
order by given.due_at, given.id
on conflict (id) do update set due_at = excluded.due_at, refused_at = excluded.refused_at;
