-- Grows whenever a partition changes hands: it tells whether somebody has worked here since.
select coalesce(sum(epoch), 0)::bigint from :"schema".leases;
