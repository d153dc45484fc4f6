select step, done::text, open::text, position, highest, recount, 0::bigint as dropped from :"schema".sealing;
