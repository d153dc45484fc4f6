-- Up to which position the next page of a day goes: bounded in events and in bytes, one event at least.
select max(sized.position) from (
    select page.position, page.size, sum(page.size) over (order by page.position) as bytes
    from (
        select e.position, octet_length(e.payload::text) as size from :"schema".event_log as e
        where e.day = %(day)s::date and e.position > %(position)s::bigint order by e.position limit %(limit)s
    ) as page
) as sized where sized.bytes - sized.size < %(max_bytes)s;
