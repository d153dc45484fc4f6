-- Mask what waits for its time; what is masked already is passed over.
update :"schema".scheduled set payload = %(mask)s::text::json,
    headers = json_strip_nulls(json_build_object('erased_at', %(at)s::text, 'erased_by', %(actor)s::text,
        'correlation_id', headers ->> 'correlation_id', 'causation_id', headers ->> 'causation_id'))
where (%(tenant_id)s::text is null or tenant_id = %(tenant_id)s::text)
    and (%(key)s::text is null or event_key = %(key)s::text)
    and (payload::text <> %(mask)s::text or headers ->> 'erased_at' is null)
returning id;
