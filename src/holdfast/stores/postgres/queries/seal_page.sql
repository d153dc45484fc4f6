-- The next events to seal: schema/0008_pre_seals.sql.
select event_position, id, day, occurred_at, tenant_id, event_name, event_key, headers, payload
from :"schema".seal_page(
    %(done)s::pg_snapshot, %(open)s::pg_snapshot, %(position)s::bigint, %(highest)s::bigint, %(limit)s::integer);
