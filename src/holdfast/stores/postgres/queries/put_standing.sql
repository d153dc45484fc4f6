-- Subscriptions are paused, or not, as they were in the other store; so is what operators have set.
update :"schema".subscriptions as s
set paused_at = given.paused_at, paused_by = given.paused_by, concurrency = given.concurrency, created_at = given.created_at
from json_to_recordset(%(subscriptions)s::text::json) as given(name text, paused_at timestamptz, paused_by text,
    concurrency integer, created_at timestamptz)
where s.name = given.name;
