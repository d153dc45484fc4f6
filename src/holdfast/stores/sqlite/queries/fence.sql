-- The leases that still have the epoch and an owner: given back, one keeps its epoch until somebody takes it. Asked inside a write transaction, so none of them can change until its end.
select l.subscription, l.partition
from json_each(:leases) as held
join leases as l on l.subscription = json_extract(held.value, '$[0]') and l.partition = json_extract(held.value, '$[1]')
where l.epoch = json_extract(held.value, '$[2]') and l.owner is not null;
