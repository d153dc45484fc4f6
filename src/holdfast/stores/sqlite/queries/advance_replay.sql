update replays set done = done + :count where id = :replay;
