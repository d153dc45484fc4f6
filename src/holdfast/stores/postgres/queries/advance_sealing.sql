-- Only from where it was read, and only on the server that the snapshots are of.
update :"schema".sealing
set step = step + 1, done = %(done)s::pg_snapshot, open = %(open)s::pg_snapshot, position = %(position)s::bigint,
    highest = %(highest)s::bigint, recount = %(recount)s
where step = %(step)s::bigint
    and exists (select from :"schema".incarnation as i where i.id::text = %(incarnation)s::text)
returning step;
