-- All of it is let go of, if nobody else has said so and the choice is still the same.
update let_go set finished_at = :now
where subscription = :subscription and shown = :shown and position = :position and finished_at is null
    and :choice = (select s.behind_retention from subscriptions as s where s.id = let_go.subscription)
returning subscription;
