-- The leases that still have the epoch. Asked inside a write transaction, so none of them can change until its end.
select l.subscription, l.partition
from json_each(:leases) as held
join leases as l on l.subscription = json_extract(held.value, '$[0]') and l.partition = json_extract(held.value, '$[1]')
where l.epoch = json_extract(held.value, '$[2]');
