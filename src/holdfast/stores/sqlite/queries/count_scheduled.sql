-- What erase_scheduled would mask.
select count(*) from scheduled
where (:tenant_id is null or tenant_id = :tenant_id) and (:key is null or event_key = :key)
    and (payload <> :mask or headers is null or json_extract(headers, '$.erased_at') is null);
