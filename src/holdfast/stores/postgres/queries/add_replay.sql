insert into :"schema".replays (subscription, filters, rate, total, actor)
values (%(subscription)s, %(filters)s::text::json, %(rate)s::real, %(total)s, %(actor)s)
returning id;
