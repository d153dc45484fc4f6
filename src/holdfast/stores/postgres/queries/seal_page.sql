-- The next events of a window to seal, in the order of positions. Those of transactions that "done" did not know yet have
-- a higher position than all that it shows: a column's default gives a row its transaction before its position. So
-- the first branch begins behind what is sealed; the second one has those that were under way, wherever they lie.
(select e.position, e.id, e.day, e.occurred_at, e.tenant_id, e.event_name, e.event_key,
    sha256(convert_to(e.headers::text, 'UTF8')) as headers, sha256(convert_to(e.payload::text, 'UTF8')) as payload
from :"schema".event_log as e
where e.txid >= pg_snapshot_xmax(%(done)s::pg_snapshot) and e.position > greatest(%(position)s::bigint, %(highest)s::bigint)
    and pg_visible_in_snapshot(e.txid, %(open)s::pg_snapshot)
order by e.position limit %(limit)s)
union all
(select e.position, e.id, e.day, e.occurred_at, e.tenant_id, e.event_name, e.event_key,
    sha256(convert_to(e.headers::text, 'UTF8')) as headers, sha256(convert_to(e.payload::text, 'UTF8')) as payload
from :"schema".event_log as e
where e.txid = any(array(select pg_snapshot_xip(%(done)s::pg_snapshot))) and e.position > %(position)s::bigint
    and pg_visible_in_snapshot(e.txid, %(open)s::pg_snapshot)
order by e.position limit %(limit)s)
order by position limit %(limit)s;
