select c.subscription, c.partition, c.done, c.open, c.position, c.deferred
from json_each(:slices) as wanted
join cursors as c
    on c.subscription = json_extract(wanted.value, '$[0]') and c.partition = json_extract(wanted.value, '$[1]');
