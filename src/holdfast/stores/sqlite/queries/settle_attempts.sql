insert into attempts (subscription, event_id, attempt, outcome, error, message, traceback, seconds, finished_at)
values (:subscription, :event_id, :attempt, :outcome, :error, :message, :traceback, :seconds, :now);
