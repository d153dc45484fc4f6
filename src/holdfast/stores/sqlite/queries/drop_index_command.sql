-- What drops a search index.
select 'drop index if exists event_log_by_' || :name as command, 0 as is_long;
