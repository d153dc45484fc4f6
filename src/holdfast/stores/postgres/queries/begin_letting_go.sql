-- Begin with a day, go on where somebody was, or begin another round, because more of the day has come since the last one.
insert into :"schema".let_go as g (subscription, day, shown)
values (%(subscription)s::integer, %(day)s::date, pg_current_snapshot())
on conflict (subscription, day) do update set
    before = case when g.finished_at is null then g.before else g.shown end,
    shown = case when g.finished_at is null then g.shown else excluded.shown end,
    position = case when g.finished_at is null then g.position else 0 end,
    events = case when g.finished_at is null then g.events else 0 end,
    first_position = case when g.finished_at is null then g.first_position end,
    last_position = case when g.finished_at is null then g.last_position end,
    finished_at = null
returning g.shown::text, g.position, g.events, g.first_position, g.last_position;
