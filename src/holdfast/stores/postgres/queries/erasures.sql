select at, actor, detail from :"schema".audit where action = 'erase' and allowed order by id;
