-- What nobody needs any more: snapshots from the future or long past, workers that are gone and own nothing.
with gone as (
    delete from :"schema".workers as w where w.heartbeat_at < clock_timestamp() - interval '10 minutes'
        and not exists (select from :"schema".leases as l where l.owner = w.id)
)
delete from :"schema".snapshots
where at > clock_timestamp() + interval '5 minutes' or at < clock_timestamp() - interval '90 days';
