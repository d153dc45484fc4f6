-- One day: how many events, and which subscriptions need one of them. The check of drop_day, without its lock.
select (select count(*) from :"schema".event_log where day = %(day)s::date) as events,
    :"schema".day_needed(%(day)s::date, coalesce(
        (select c.relname from pg_class as c
        where c.oid = to_regclass(':"schema".event_log_' || to_char(%(day)s::date, 'YYYYMMDD'))), 'event_log_default')
    ) as blocking;
