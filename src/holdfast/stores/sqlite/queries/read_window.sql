-- Texts as bytes: what is not UTF-8 must not stop the reader.
select position, cast(id as blob), cast(occurred_at as blob), cast(tenant_id as blob), cast(event_name as blob),
    cast(event_key as blob), cast(payload as blob), cast(headers as blob)
from event_log
where position between :first and :last
    and (:without is null or tenant_id not in (select value from json_each(:without)))
order by position
limit :limit;
