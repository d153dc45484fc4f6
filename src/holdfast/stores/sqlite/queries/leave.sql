delete from workers where id = :worker;
