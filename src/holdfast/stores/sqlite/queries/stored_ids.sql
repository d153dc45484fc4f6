-- Which of these events the log has.
select e.id from event_log as e where e.id in (select value from json_each(:ids));
