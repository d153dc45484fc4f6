select id, at, actor, action, target, detail, count, allowed
from audit where :before is null or id < :before
order by id desc limit :limit;
