-- What drops a search index, with those of all partitions.
select format('drop index if exists %%I.%%I', ':"schema"', 'event_log_by_' || %(name)s::text) as command, false as is_long;
