-- Long actions go chunk by chunk; the row says how far they got.
update audit set count = coalesce(count, 0) + :count where id = :audit;
