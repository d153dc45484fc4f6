select at, actor, detail from audit where action = 'erased' and allowed order by id;
