-- Drop one day if nothing of it is needed; else tell which subscriptions need it.
select rows_dropped, blocking from :"schema".drop_day(%(suffix)s);
