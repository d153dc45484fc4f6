insert into replays (subscription, filters, rate, total, actor, created_at)
values (:subscription, :filters, :rate, :total, :actor, :now)
returning id;
