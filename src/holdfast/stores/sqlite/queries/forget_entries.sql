-- Of what retention has dropped the chain stays, without what it says of each event.
update seal_segments set entries = null
where entries is not null and last <= (select dropped from sealing)
returning number;
