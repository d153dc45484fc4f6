-- Of the events stored before the retention time: those that may go, and those that somebody still needs.
select (select count(*) from event_log where position <= :last) as droppable,
    (select count(*) from event_log where position > :last and position <= :horizon) as kept;
