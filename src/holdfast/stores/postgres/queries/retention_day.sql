-- One day: how many events, and which subscriptions need one of them. The check of drop_day, without its lock.
select (select count(*) from :"schema".event_log where day = %(day)s::date) as events,
    array(
        select s.name from :"schema".subscriptions as s
        where exists (
                select from :"schema".cursors as c where c.subscription = s.id and exists (
                    select from :"schema".event_log as e where e.day = %(day)s::date
                        and (e.txid >= pg_snapshot_xmax(c.done) or e.txid = any(array(select pg_snapshot_xip(c.done))))))
            or exists (
                select from :"schema".deliveries as d where d.subscription = s.id and d.day = %(day)s::date
                    and d.payload is null and d.state in ('pending', 'retrying', 'running'))
        order by s.name) as blocking;
