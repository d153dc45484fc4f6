-- Of a schedule that is known, the next time stays, unless it goes by another rule now. Nothing is written where all is
-- as it was: a program that starts again waits for nobody.
insert into :"schema".schedules as s (name, rule, zone, missed, tenant_id, next_at)
values (%(name)s, %(rule)s, %(zone)s, %(missed)s, %(tenant_id)s, %(next_at)s::timestamptz)
on conflict (name) do update set rule = excluded.rule, zone = excluded.zone, missed = excluded.missed,
    tenant_id = excluded.tenant_id, updated_at = clock_timestamp(),
    next_at = case when (s.rule, s.zone) = (excluded.rule, excluded.zone) then s.next_at else excluded.next_at end
where (s.rule, s.zone, s.missed, s.tenant_id) <> (excluded.rule, excluded.zone, excluded.missed, excluded.tenant_id);
