-- A known name is declared again: patterns and policies change, cursors stay.
update :"schema".subscriptions set patterns = %(patterns)s::text[], regexes = %(regexes)s::text[],
    ordering = %(ordering)s, on_dead = %(on_dead)s, replayable = %(replayable)s,
    behind_retention = %(behind_retention)s, updated_at = clock_timestamp()
where id = %(id)s;
