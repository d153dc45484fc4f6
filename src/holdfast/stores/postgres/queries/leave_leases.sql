-- What an ending worker has not released is nobody's: leases that were given while it ended, whose answer did not reach it.
-- Nothing was handed out under them. As in release, what an owner before left unfinished keeps an owner whose time is over.
with unknown as materialized (
    select l.subscription, l.partition from :"schema".leases as l
    where l.owner = %(worker)s and l.lease_until > clock_timestamp()
    order by l.subscription, l.partition
    for update
)
update :"schema".leases as l set owner = case when l.crashes > 0 then l.owner end,
    lease_until = case when l.crashes > 0 then clock_timestamp() end, crashes = greatest(l.crashes - 1, 0)
from unknown where l.subscription = unknown.subscription and l.partition = unknown.partition;
