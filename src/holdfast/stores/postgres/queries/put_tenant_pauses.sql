insert into :"schema".paused_tenants (subscription, tenant_id, paused_at, paused_by)
select s.id, given.tenant_id, given.paused_at, given.paused_by
from json_to_recordset(%(pauses)s::text::json) as given(subscription text, tenant_id text, paused_at timestamptz, paused_by text)
join :"schema".subscriptions as s on s.name = given.subscription
on conflict (subscription, tenant_id) do update set paused_at = excluded.paused_at, paused_by = excluded.paused_by;
