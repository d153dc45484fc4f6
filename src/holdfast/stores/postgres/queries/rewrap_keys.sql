-- The same data keys under another master key. Those that were erased meanwhile stay erased.
update :"schema".subject_keys as k set master = item.master, wrapped = item.wrapped
from json_to_recordset(%(keys)s::text::json) as item(id uuid, master text, wrapped text)
where k.id = item.id and k.wrapped is not null;
