-- What erase_scheduled would mask.
select count(*) from :"schema".scheduled
where (%(tenant_id)s::text is null or tenant_id = %(tenant_id)s::text)
    and (%(key)s::text is null or event_key = %(key)s::text)
    and (payload::text <> %(mask)s::text or headers ->> 'erased_at' is null);
