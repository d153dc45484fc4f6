-- What a worker has in hand of it is nobody's from here on. An owner whose time is over stays, so that the next one is
-- careful with what this one may have in hand besides.
update leases set epoch = epoch + 1, clean = 0,
    crashes = case when owner is not null and lease_until > :now then max(crashes - 1, 0) else crashes end,
    lease_until = case when owner is not null then min(lease_until, :now) end
where subscription = :subscription and exists (
    select 1 from cursors as c
    where c.subscription = leases.subscription and c.partition = leases.partition and c.done < :shown);
