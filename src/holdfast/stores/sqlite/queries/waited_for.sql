-- Per subscription that still waits for an old event: the first such position, who it is, and what it wants to become
-- of what it has not handled.
select s.name,
    min(
        coalesce((select min(i.position) from interests as i
            where i.subscription = s.id and i.position <= :horizon
                and i.position > (select min(c.done) from cursors as c where c.subscription = s.id)), :none),
        coalesce((select min(d.position) from deliveries as d
            where d.subscription = s.id and d.payload is null
                and d.state in ('pending', 'retrying', 'running')), :none)
    ) as first,
    s.id, s.behind_retention
from subscriptions as s;
