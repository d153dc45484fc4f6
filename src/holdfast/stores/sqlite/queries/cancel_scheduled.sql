delete from scheduled where id = :id returning id;
