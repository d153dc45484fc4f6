-- Where the next part of the log ends.
select max(position) from (
    select position from event_log where position > :after and position <= :until_position order by position limit :limit
);
