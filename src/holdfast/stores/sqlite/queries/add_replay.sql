insert into replays (subscription, filters, rate, total, actor, created_at, position, until_position, advanced_at)
values (:subscription, :filters, :rate, :total, :actor, :now, :position, :until_position, :now)
returning id;
