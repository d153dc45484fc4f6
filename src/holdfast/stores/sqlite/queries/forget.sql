delete from workers
where heartbeat_at < :since and not exists (select 1 from leases as l where l.owner = workers.id);
