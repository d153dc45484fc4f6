-- Of a schedule that is known, the next time stays, unless it goes by another rule now.
insert into schedules (name, rule, zone, missed, tenant_id, next_at, not_before, created_at, updated_at)
values (:name, :rule, :zone, :missed, :tenant_id, :next_at, :now, :now, :now)
on conflict (name) do update set rule = excluded.rule, zone = excluded.zone, missed = excluded.missed,
    tenant_id = excluded.tenant_id, updated_at = excluded.updated_at,
    next_at = case when (schedules.rule, schedules.zone) = (excluded.rule, excluded.zone)
        then schedules.next_at else excluded.next_at end
where (schedules.rule, schedules.zone, schedules.missed, schedules.tenant_id)
    <> (excluded.rule, excluded.zone, excluded.missed, excluded.tenant_id);
