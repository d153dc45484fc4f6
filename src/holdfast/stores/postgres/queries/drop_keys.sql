-- Erase: what was encrypted with these data keys cannot be read any more. The rows stay, and say so.
update :"schema".subject_keys set wrapped = null
where wrapped is not null and retired_at is not null
    and (%(tenant_id)s::text is null or tenant_id = %(tenant_id)s::text)
    and (%(key)s::text is null or event_key = %(key)s::text);
