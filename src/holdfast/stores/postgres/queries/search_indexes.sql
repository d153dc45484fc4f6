-- The search indexes that there may be, and what there is of them. Each that finds events has their time, so that a search
-- goes straight to the time it asks for. Of headers a part, as a long one must not make a
-- publish fail; by a pattern, as "->>" fails at an escape such as \ud800, which another program can have put there.
with wanted(name, definition) as (values
    ('time', $$(occurred_at, position)$$),
    ('tenant', $$(tenant_id, occurred_at, position)$$),
    ('key', $$(event_key, occurred_at, position) where event_key is not null$$),
    ('name', $$(event_name, occurred_at, position)$$),
    ('correlation', $$(left(substring(headers::text from '"correlation_id"\s*:\s*"([^"\\]+)"'), 200), occurred_at, position) where headers is not null$$),
    ('causation', $$(left(substring(headers::text from '"causation_id"\s*:\s*"([^"\\]+)"'), 200), position) where headers is not null$$))
select wanted.name, wanted.definition, coalesce(i.indisvalid, false) as ready, i.indexrelid is not null as begun,
    (select sum(pg_relation_size(part.inhrelid)) from pg_inherits as part where part.inhparent = i.indexrelid)::bigint
        as bytes,
    exists (
        select from pg_stat_progress_create_index as p
        join pg_inherits as part on part.inhrelid = p.relid
        where part.inhparent = ':"schema".event_log'::regclass) as building
from wanted
left join pg_index as i on i.indexrelid = to_regclass(':"schema".event_log_by_' || wanted.name)
order by wanted.name;
