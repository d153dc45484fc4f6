-- Long actions go chunk by chunk; the row says how far they got.
update :"schema".audit set count = coalesce(count, 0) + %(count)s::bigint where id = %(audit)s;
