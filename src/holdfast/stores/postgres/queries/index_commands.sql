-- What builds a search index, one command after the other. The index of the whole log first, so that partitions made
-- from now on get theirs at once; then those that are there, without keeping publishers waiting, each attached when it
-- is ready. What a build that was broken off left behind is dropped and built again.
with parts as (
    select c.relname as name, c.relname || '_by_' || %(name)s::text as index_name, i.indisvalid as ready,
        attached.inhrelid is not null as attached, i.indexrelid is not null as begun
    from pg_inherits as part
    join pg_class as c on c.oid = part.inhrelid
    left join pg_index as i on i.indexrelid = to_regclass(format('%%I.%%I', ':"schema"', c.relname || '_by_' || %(name)s::text))
    left join pg_inherits as attached
        on attached.inhparent = to_regclass(':"schema".event_log_by_' || %(name)s::text)
        and attached.inhrelid in (select own.indexrelid from pg_index as own where own.indrelid = c.oid)
    where part.inhparent = ':"schema".event_log'::regclass
), commands(name, place, step, command, is_long) as (
    select '', 1, 0, format('create index if not exists %%I on only %%I.event_log %%s',
        'event_log_by_' || %(name)s::text, ':"schema"', %(definition)s::text), false
    union all
    select name, 2, 1, format('drop index if exists %%I.%%I', ':"schema"', index_name), false
    from parts where not attached and begun and not ready
    union all
    select name, 2, 2, format('create index concurrently if not exists %%I on %%I.%%I %%s',
        index_name, ':"schema"', name, %(definition)s::text), true
    from parts where not attached
    union all
    select name, 2, 3, format('alter index %%I.%%I attach partition %%I.%%I',
        ':"schema"', 'event_log_by_' || %(name)s::text, ':"schema"', index_name), false
    from parts where not attached
)
select command, is_long from commands order by place, name, step;
