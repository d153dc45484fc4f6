select pg_current_snapshot()::text, (select i.id::text from :"schema".incarnation as i);
