-- An attempt that is on record already is the same settlement again, whose first answer was lost.
insert into attempts (subscription, event_id, attempt, outcome, error, message, traceback, seconds, finished_at)
select :subscription, :event_id, :attempt, :outcome, :error, :message, :traceback, :seconds, :now
where not exists (
    select 1 from attempts as known
    where known.event_id = :event_id and known.subscription = :subscription and known.attempt = :attempt
        and known.outcome = :outcome and known.error = :error and known.seconds = :seconds
        and known.finished_at > :an_hour_ago);
