delete from :"schema".scheduled where id = %(id)s::uuid returning id;
