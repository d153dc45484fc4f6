select state from replays where id = :replay;
