delete from :"schema".schedules where name = %(name)s returning name;
