-- One day: how many events, and which subscriptions need one of them. The check of drop_day, without its lock.
select (select count(*) from :"schema".event_log where day = %(day)s::date) as events,
    :"schema".day_kept_by(%(day)s::date) as blocking;
