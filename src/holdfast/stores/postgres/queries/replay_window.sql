-- Where the next part of the log ends. A limit in replay_page itself would be planned as a sort of all that follows.
select max(position) from (
    select e.position from :"schema".event_log as e
    where e.position > %(after)s::bigint and e.position <= %(until_position)s::bigint
    order by e.position limit %(limit)s
) as part;
