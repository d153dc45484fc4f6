update scheduled set refused_at = :now where id = :id;
