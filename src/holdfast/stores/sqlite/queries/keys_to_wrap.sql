-- The next data keys that are under another master key than this one.
select id, tenant_id, event_key, master, wrapped, retired_at is not null as retired
from subject_keys
where wrapped is not null and master <> :master and id > :after
order by id limit :limit;
