-- What builds a search index; nobody writes meanwhile.
select 'create index if not exists event_log_by_' || :name || ' on event_log ' || :definition as command, 1 as is_long;
