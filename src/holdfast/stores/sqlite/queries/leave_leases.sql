-- What an ending worker has not released is nobody's: leases that were given while it ended, whose answer did not reach it.
-- Nothing was handed out under them. As in release, what an owner before left unfinished keeps an owner whose time is over.
update leases set owner = case when crashes > 0 then owner end, lease_until = case when crashes > 0 then :now end,
    crashes = max(crashes - 1, 0)
where owner = :worker and lease_until > :now;
