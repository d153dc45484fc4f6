-- Of the newest events, up to a bound: how many match, and how many were looked at. The conditions stand in a "where",
-- which does not ask the second half of an "or" where the first is true.
with newest as (
    select id, event_name, tenant_id, event_key, occurred_at from event_log order by position desc limit :bound
)
select (select count(*) from newest as e
        where (:event_id is null or e.id = :event_id)
            and (:name is null or holdfast_matches(:name, e.event_name))
            and (:tenant_id is null or e.tenant_id = :tenant_id)
            and (:key is null or e.event_key = :key)
            and (:since is null or e.occurred_at >= :since)
            and (:until is null or e.occurred_at < :until)) as matching,
    (select count(*) from newest) as looked;
