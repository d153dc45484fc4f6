-- Of the newest events, up to a bound: how many match, and how many were looked at.
select coalesce(sum((:event_id is null or e.id = :event_id)
        and case when :name is null then true else holdfast_matches(:name, e.event_name) end  -- "or" calls it for null, too, here
        and (:tenant_id is null or e.tenant_id = :tenant_id)
        and (:key is null or e.event_key = :key)
        and (:since is null or e.occurred_at >= :since)
        and (:until is null or e.occurred_at < :until)), 0) as matching,
    count(*) as looked
from (select * from event_log order by position desc limit :bound) as e;
