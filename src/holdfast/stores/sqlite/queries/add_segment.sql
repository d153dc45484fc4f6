insert into seal_segments (day, number, events, first, last, sealed_at, digest, head, entries)
values (:day, :number, :events, :first, :last, :now, :digest, :head, :entries);
