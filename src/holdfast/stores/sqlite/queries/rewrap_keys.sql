-- The same data keys under another master key. Those that were erased meanwhile stay erased.
update subject_keys set master = json_extract(item.value, '$.master'), wrapped = json_extract(item.value, '$.wrapped')
from json_each(:keys) as item
where subject_keys.id = json_extract(item.value, '$.id') and subject_keys.wrapped is not null;
