select d.subscription, d.partition, d.tenant_id, d.event_key, count(*)
from json_each(:slices) as held
join subscriptions as s on s.id = json_extract(held.value, '$[0]')
join deliveries as d on d.subscription = s.id and d.partition = json_extract(held.value, '$[1]')
where s.ordering = 'key' and d.event_key is not null
    and (d.state in ('pending', 'retrying', 'running') or d.state = 'dead' and s.on_dead = 'hold')
group by d.subscription, d.partition, d.tenant_id, d.event_key;
