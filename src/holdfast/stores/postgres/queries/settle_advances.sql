-- Cursors are written in the incarnation that they were read in, or not at all: after a crash of the server the same
-- transaction ids are handed out again, and an old snapshot would hide the events that get them.
update :"schema".cursors as c set done = a.done::pg_snapshot, open = a.open::pg_snapshot, position = a.position,
    deferred = a.deferred::json, updated_at = clock_timestamp()
from unnest(%(subscriptions)s::integer[], %(partitions)s::integer[], %(dones)s::text[], %(opens)s::text[],
    %(positions)s::bigint[], %(deferred)s::text[], %(incarnations)s::uuid[])
    as a(subscription, partition, done, open, position, deferred, incarnation)
where c.subscription = a.subscription and c.partition = a.partition
    and (a.incarnation is null or exists (select from :"schema".incarnation as i where i.id = a.incarnation));
