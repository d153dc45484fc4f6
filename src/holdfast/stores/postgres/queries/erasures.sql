select at, actor, detail from :"schema".audit where action = 'erased' and allowed order by id;
