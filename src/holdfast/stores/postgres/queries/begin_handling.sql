-- A worker that stands still must not keep its event from its successor for ever: the server ends its transaction. And
-- whoever waits for such a one waits in short turns, which count as no attempt.
select set_config('idle_in_transaction_session_timeout', %(idle)s, true), set_config('lock_timeout', '2s', true);
