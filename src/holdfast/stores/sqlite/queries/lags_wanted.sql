-- The subscriptions whose lag a worker shall write down: all of them, if it is the first of those that live, else none.
select s.id from subscriptions as s
where :worker = (select w.id from workers as w where not w.draining and w.heartbeat_at > :minute_ago order by w.id limit 1)
order by s.id;
