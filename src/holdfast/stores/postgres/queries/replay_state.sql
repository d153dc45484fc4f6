select state from :"schema".replays where id = %(replay)s;
