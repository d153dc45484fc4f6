insert into :"schema".audit (actor, action, target, detail, count, allowed)
values (%(actor)s, %(action)s, %(target)s, %(detail)s::text::json, %(count)s::bigint, %(allowed)s)
returning id;
