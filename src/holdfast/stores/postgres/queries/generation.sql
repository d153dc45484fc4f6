select m.generation, (select i.id::text from :"schema".incarnation as i) as incarnation from :"schema".meta as m;
