-- The cursor that says the least is settled. Snapshots of one server are ordered by what they show; where several
-- cursors share "done", the one that has read least of its window comes first.
select done::text, open::text, position from :"schema".cursors where subscription = %(subscription)s
order by pg_snapshot_xmax(done), pg_snapshot_xmin(done),
    (select count(*) from pg_snapshot_xip(done)) desc, open is not null, position, pg_snapshot_xmax(open)
limit 1;
