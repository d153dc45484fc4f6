-- How many events each subscription has let go of within a day.
select target, sum(count) from audit where action = 'let go' and at > :day_ago group by target;
