insert into :"schema".snapshots (snap, day) values (%(snap)s::pg_snapshot, %(day)s::date) on conflict do nothing;
