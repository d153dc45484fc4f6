select id, at, actor, action, target, detail, count, allowed
from audit
where (:before is null or id < :before)
    and (:actor is null or actor = :actor)
    and (:action is null or action = :action)
    and (:target is null or target = :target)
    and (:allowed is null or allowed = :allowed)
    and (:since is null or at >= :since)
    and (:until is null or at < :until)
    and (:tenant_id is null or json_extract(detail, '$.tenant_id') = :tenant_id)
order by id desc limit :limit;
