update :"schema".scheduled set due_at = %(due_at)s::timestamptz where id = %(id)s::uuid returning id;
