-- Which of these events the log has.
select e.id from :"schema".event_log as e where e.id = any(%(ids)s::uuid[]);
