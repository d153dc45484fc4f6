-- The links of the chains of some days, in their order.
select day, number, events, first, last, digest, head, entries
from :"schema".seal_segments
where day between greatest(%(first_day)s::date, %(after_day)s::date) and %(last_day)s::date
    and (day, number) > (%(after_day)s::date, %(after)s::integer)
order by day, number limit %(limit)s;
