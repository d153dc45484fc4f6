-- What has come into the log waits no more.
delete from scheduled where id = :id;
