-- How many events the planner expects: its statistics, and the present size of the tables.
explain (format json)
select from :"schema".event_log as e
where (%(event_id)s::uuid is null or e.id = %(event_id)s::uuid)
    and (%(regex)s::text is null or e.event_name ~ %(regex)s::text)
    and (%(exact_name)s::text is null or e.event_name = %(exact_name)s::text)
    and (%(tenant_id)s::text is null or e.tenant_id = %(tenant_id)s::text)
    and (%(key)s::text is null or e.event_key = %(key)s::text)
    and (%(since)s::timestamptz is null or e.occurred_at >= %(since)s::timestamptz)
    and (%(until)s::timestamptz is null or e.occurred_at < %(until)s::timestamptz);
