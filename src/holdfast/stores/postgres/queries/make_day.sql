-- Make the partition of one day; false: its events stay in the default partition. No row: see drop_day.
select made
from (select where current_setting('transaction_isolation') = 'read committed') as looks_again,
    :"schema".make_day(%(day)s::date) as made;
