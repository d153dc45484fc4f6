update :"schema".replays set done = done + %(count)s::bigint, position = %(position)s::bigint, advanced_at = clock_timestamp()
where id = %(replay)s;
