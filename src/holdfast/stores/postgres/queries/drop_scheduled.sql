-- What has come into the log waits no more.
delete from :"schema".scheduled where id = any(%(ids)s::uuid[]);
