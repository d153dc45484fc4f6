select id, at, actor, action, target, detail, count, allowed
from :"schema".audit where %(before)s::bigint is null or id < %(before)s::bigint
order by id desc limit %(limit)s;
