-- The entries of some days' links, in the order of the first positions.
select first, day, number, entries
from seal_segments
where entries is not null and day between :first_day and :last_day
    and first >= :after and (first, day, number) > (:after, :after_day, :after_number)
order by first, day, number limit :limit;
