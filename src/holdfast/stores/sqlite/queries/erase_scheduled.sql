-- Mask what waits for its time; what is masked already is passed over.
update scheduled set payload = :mask,
    headers = json_patch('{}', json_object('erased_at', :at, 'erased_by', :actor,
        'correlation_id', json_extract(headers, '$.correlation_id'), 'causation_id', json_extract(headers, '$.causation_id')))
where (:tenant_id is null or tenant_id = :tenant_id) and (:key is null or event_key = :key)
    and (payload <> :mask or headers is null or json_extract(headers, '$.erased_at') is null)
returning id;
