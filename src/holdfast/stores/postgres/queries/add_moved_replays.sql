-- Finished ones, with their numbers: their places in the other store's log say nothing here. New ones are numbered on.
with added as (
    insert into :"schema".replays (id, subscription, filters, rate, total, done, state, actor, created_at, finished_at)
    overriding system value
    select given.number, s.id, given.filters::json, given.rate, given.total, given.done, given.state, given.actor,
        given.created_at, given.finished_at
    from json_to_recordset(%(replays)s::text::json) as given(number bigint, subscription text, filters text, rate real,
        total bigint, done bigint, state text, actor text, created_at timestamptz, finished_at timestamptz)
    join :"schema".subscriptions as s on s.name = given.subscription
    on conflict (id) do nothing
    returning id
)
select setval(pg_get_serial_sequence(':"schema".replays', 'id'),
    greatest(max(added.id), (select max(r.id) from :"schema".replays as r)))
from added having count(*) > 0;
