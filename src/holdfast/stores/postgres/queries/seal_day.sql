select segments, events, head from :"schema".seal_days where day = %(day)s::date;
