-- How many data keys each master key has, and how many were erased.
select master, count(wrapped) as kept, count(*) - count(wrapped) as erased
from subject_keys group by master order by master;
