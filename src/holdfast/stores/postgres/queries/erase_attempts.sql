-- What handlers raised may quote the payload; what kind of error it was, and where it was counted, stays.
update :"schema".attempts set message = %(word)s::text, traceback = null
where event_id = any(array(select one::uuid from json_array_elements_text(%(ids)s::text::json) as item(one)))
    and (message <> %(word)s::text or traceback is not null)
returning id;
