-- Delivery rows made from here on have higher numbers than those of the store that is moved in.
select setval(sequence, greatest(%(highest)s::bigint, last.number, 1))
from pg_get_serial_sequence(':"schema".deliveries', 'id') as sequence,
    (select coalesce(max(id), 0) as number from :"schema".deliveries) as last;
