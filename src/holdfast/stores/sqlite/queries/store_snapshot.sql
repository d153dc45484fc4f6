-- Only where something was stored since the newest one.
insert into snapshots (at, horizon)
select :now, :horizon
where :horizon > coalesce((select max(horizon) from snapshots), -1)
on conflict (at) do update set horizon = excluded.horizon;
