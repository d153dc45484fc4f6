select :"schema".make_day(%(day)s::date);
