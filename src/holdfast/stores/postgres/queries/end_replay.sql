update :"schema".replays set state = %(state)s, finished_at = clock_timestamp() where id = %(replay)s;
