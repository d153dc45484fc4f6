-- Begin with a part of the log, go on where somebody was, or begin with the next part.
insert into let_go as g (subscription, shown, begun_at) values (:subscription, :shown, :now)
on conflict (subscription) do update set
    shown = case when g.finished_at is null then g.shown else excluded.shown end,
    events = case when g.finished_at is null then g.events else 0 end,
    first_position = case when g.finished_at is null then g.first_position end,
    last_position = case when g.finished_at is null then g.last_position end,
    position = case when g.finished_at is null then g.position else 0 end,
    begun_at = case when g.finished_at is null then g.begun_at else excluded.begun_at end,
    finished_at = null
returning shown, position, events, first_position, last_position;
