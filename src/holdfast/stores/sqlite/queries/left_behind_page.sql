-- Up to which position the next page goes: bounded in events and in bytes, one event at least.
select max(sized.position) from (
    select page.position, page.size, sum(page.size) over (order by page.position) as bytes
    from (
        select e.position, length(cast(e.payload as blob)) as size from event_log as e
        where e.position > :position and e.position <= :shown order by e.position limit :limit
    ) as page
) as sized where sized.bytes - sized.size < :max_bytes;
