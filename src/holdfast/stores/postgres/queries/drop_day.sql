-- Drop one day if nothing of it is needed; else tell which subscriptions need it. No row, and nothing done, where the
-- function would not see what has come while it waited for its lock.
select rows_dropped, blocking
from (select where current_setting('transaction_isolation') = 'read committed') as looks_again,
    :"schema".drop_day(%(suffix)s);
