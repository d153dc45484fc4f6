insert into audit (at, actor, action, target, detail, count, allowed)
values (:now, :actor, :action, :target, :detail, :count, :allowed)
returning id;
