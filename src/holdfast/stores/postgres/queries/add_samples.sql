-- What a worker has counted, under the nearest minute, and how far the log has got: positions that were drawn, those of
-- transactions that rolled back among them. A sequence that nothing was drawn from says 1, and that it was not called.
with minute as (
    select date_trunc('minute', clock_timestamp() + interval '30 seconds') as at
)
insert into :"schema".samples (at, worker, subscription, position, delivered, failed, retried, dead, durations)
select minute.at, %(worker)s, null, case when drawn.is_called then drawn.last_value else 0 end, 0, 0, 0, 0, null
from minute, :"schema".event_position as drawn
union all
select minute.at, %(worker)s, counted.subscription, null, counted.delivered, counted.failed, counted.retried,
    counted.dead, counted.durations::json
from minute, unnest(
    %(subscriptions)s::integer[], %(delivered)s::bigint[], %(failed)s::bigint[], %(retried)s::bigint[],
    %(dead)s::bigint[], %(durations)s::text[]
) as counted(subscription, delivered, failed, retried, dead, durations);
