delete from samples where at < :since;
