update :"schema".replays set done = done + %(count)s::bigint where id = %(replay)s;
