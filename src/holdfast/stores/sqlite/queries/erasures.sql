select at, actor, detail from audit where action = 'erase' and allowed order by id;
