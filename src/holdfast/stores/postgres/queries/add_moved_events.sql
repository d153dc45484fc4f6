-- Events of another store, in the order given. Their transaction is the first of any server, which every snapshot shows: so
-- every cursor has passed them, whenever it was made, and what waits has a delivery row. A seal that has gone on from its
-- beginning looks at the log once more for what has none.
with resealed as (
    update :"schema".sealing set step = step + 1, done = '3:3:', open = null, position = 0, recount = true
    where done::text <> '3:3:' or open is not null
)
insert into :"schema".event_log (txid, id, day, occurred_at, tenant_id, event_name, event_key, payload, headers)
select '3'::xid8, given.id, :"schema".event_day(given.id), given.occurred_at, given.tenant_id, given.name, given.key,
    given.payload::json, given.headers::json
from rows from (json_to_recordset(%(events)s::text::json) as (id uuid, occurred_at timestamptz, tenant_id text, name text,
    key text, payload text, headers text)) with ordinality
    as given(id, occurred_at, tenant_id, name, key, payload, headers, n)
order by given.n
on conflict (id, day) do nothing;
