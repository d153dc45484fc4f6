-- A page of it is let go of, unless somebody else was quicker or the subscription has made another choice.
update let_go set position = :reached, events = events + :events,
    first_position = coalesce(first_position, :first), last_position = coalesce(:last, last_position)
where subscription = :subscription and shown = :shown and position = :position and finished_at is null
    and :choice = (select s.behind_retention from subscriptions as s where s.id = let_go.subscription)
returning position, events, first_position, last_position;
