-- What handlers raised may quote the payload; what kind of error it was, and where it was counted, stays.
update attempts set message = :word, traceback = null
where event_id in (select value from json_each(:ids)) and (message <> :word or traceback is not null)
returning id;
