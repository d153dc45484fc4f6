-- One that the destination's program has declared already stands where it did in the source.
insert into :"schema".schedules (name, rule, zone, missed, tenant_id, next_at, last_at, not_before, paused_at, paused_by,
    created_at)
select given.name, given.rule, given.zone, given.missed, given.tenant_id, given.next_at, given.last_at, given.not_before,
    given.paused_at, given.paused_by, given.created_at
from json_to_recordset(%(schedules)s::text::json) as given(name text, rule text, zone text, missed text, tenant_id text,
    next_at timestamptz, last_at timestamptz, not_before timestamptz, paused_at timestamptz, paused_by text,
    created_at timestamptz)
on conflict (name) do update set rule = excluded.rule, zone = excluded.zone, missed = excluded.missed,
    tenant_id = excluded.tenant_id, next_at = excluded.next_at, last_at = excluded.last_at,
    not_before = excluded.not_before, paused_at = excluded.paused_at, paused_by = excluded.paused_by,
    created_at = excluded.created_at;
