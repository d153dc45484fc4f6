update scheduled set due_at = :due_at where id = :id returning id;
