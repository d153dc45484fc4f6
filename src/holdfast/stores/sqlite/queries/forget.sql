delete from workers where heartbeat_at < :since;
