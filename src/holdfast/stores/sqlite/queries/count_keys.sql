-- Data keys of a tenant, a key or both that are still there.
select count(*) from subject_keys
where wrapped is not null
    and (:tenant_id is null or tenant_id = :tenant_id)
    and (:key is null or event_key = :key);
