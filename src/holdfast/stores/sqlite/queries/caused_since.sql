select exists (
    select 1 from event_log
    where position > :horizon and headers is not null
        and case when json_valid(headers) then json_extract(headers, '$.causation_id') end is not null);
