update replays set state = :state, finished_at = :now where id = :replay;
