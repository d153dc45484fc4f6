-- The oldest events of the log, whole, to be archived before they are dropped. Texts as bytes: what is not UTF-8 must not
-- stop the reader.
select e.position, cast(e.id as blob), cast(e.occurred_at as blob), cast(e.tenant_id as blob), cast(e.event_name as blob),
    cast(e.event_key as blob), cast(e.payload as blob), cast(e.headers as blob)
from event_log as e where e.position <= :last order by e.position;
