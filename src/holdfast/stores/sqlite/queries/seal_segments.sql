-- The links of the chains of some days, in their order.
select day, number, events, first, last, digest, head, entries
from seal_segments
where day between :first_day and :last_day and day >= :after_day and (day, number) > (:after_day, :after)
order by day, number limit :limit;
