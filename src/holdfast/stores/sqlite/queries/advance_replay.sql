update replays set done = done + :count, position = :position, advanced_at = :now where id = :replay;
