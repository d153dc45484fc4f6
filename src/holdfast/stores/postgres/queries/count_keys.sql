-- Data keys of a tenant, a key or both that are still there.
select count(*) from :"schema".subject_keys
where wrapped is not null
    and (%(tenant_id)s::text is null or tenant_id = %(tenant_id)s::text)
    and (%(key)s::text is null or event_key = %(key)s::text);
