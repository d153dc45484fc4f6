-- A page of it is let go of, unless somebody else was quicker or the subscription has made another choice.
update :"schema".let_go as g set position = %(reached)s::bigint, events = g.events + %(events)s::bigint,
    first_position = coalesce(g.first_position, %(first)s::bigint), last_position = coalesce(%(last)s::bigint, g.last_position)
from :"schema".subscriptions as s
where g.subscription = %(subscription)s::integer and g.day = %(day)s::date and g.shown::text = %(shown)s::text
    and g.position = %(position)s::bigint and g.finished_at is null
    and s.id = g.subscription and s.behind_retention = %(choice)s::text
returning g.position, g.events, g.first_position, g.last_position;
