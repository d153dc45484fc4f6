insert into :"schema".replays (subscription, filters, rate, total, actor, position, until_position)
values (%(subscription)s, %(filters)s::text::json, %(rate)s::real, %(total)s, %(actor)s, %(position)s::bigint,
    %(until_position)s::bigint)
returning id;
