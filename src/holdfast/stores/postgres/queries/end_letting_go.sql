-- All of it is let go of, if nobody else has said so and the choice is still the same.
update :"schema".let_go as g set finished_at = clock_timestamp()
from :"schema".subscriptions as s
where g.subscription = %(subscription)s::integer and g.day = %(day)s::date and g.shown::text = %(shown)s::text
    and g.position = %(position)s::bigint and g.finished_at is null
    and s.id = g.subscription and s.behind_retention = %(choice)s::text
returning g.subscription;
