-- The entries of some days' links, in the order of the first positions.
select first, day, number, entries
from :"schema".seal_segments
where entries is not null and day between %(first_day)s::date and %(last_day)s::date
    and first >= %(after)s::bigint
    and (first, day, number) > (%(after)s::bigint, %(after_day)s::date, %(after_number)s::integer)
order by first, day, number limit %(limit)s;
