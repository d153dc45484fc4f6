-- Nothing new is encrypted for a tenant, a key or both with the data keys of now.
update subject_keys set retired_at = coalesce(retired_at, :now)
where wrapped is not null
    and (:tenant_id is null or tenant_id = :tenant_id)
    and (:key is null or event_key = :key);
