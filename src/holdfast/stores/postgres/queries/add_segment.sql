insert into :"schema".seal_segments (day, number, events, first, last, digest, head, entries)
values (%(day)s::date, %(number)s, %(events)s, %(first)s, %(last)s, %(digest)s, %(head)s, %(entries)s);
