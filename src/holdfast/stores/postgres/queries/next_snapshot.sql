-- The oldest stored snapshot that is later than "done": a larger xmax means that it was taken later.
select s.snap::text from :"schema".snapshots as s
where pg_snapshot_xmax(s.snap) > pg_snapshot_xmax(%(done)s::pg_snapshot)
    and pg_snapshot_xmax(s.snap) <= pg_snapshot_xmax(%(open)s::pg_snapshot)
order by pg_snapshot_xmax(s.snap), s.at limit 1;
