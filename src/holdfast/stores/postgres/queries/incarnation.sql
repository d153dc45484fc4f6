-- After a crash the unlogged table is empty: whoever notices first gives the server its new incarnation.
insert into :"schema".incarnation default values on conflict do nothing;
