-- A hint to workers; carries nothing, so many of them become one.
select pg_notify(%(channel)s, '');
