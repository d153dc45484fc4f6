-- Nothing new is encrypted for a tenant, a key or both with the data keys of now.
update :"schema".subject_keys set retired_at = coalesce(retired_at, clock_timestamp())
where wrapped is not null
    and (%(tenant_id)s::text is null or tenant_id = %(tenant_id)s::text)
    and (%(key)s::text is null or event_key = %(key)s::text);
