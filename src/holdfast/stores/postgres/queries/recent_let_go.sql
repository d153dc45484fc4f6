-- How many events each subscription has let go of within a day.
select target, sum(count)::bigint from :"schema".audit
where action = 'let go' and at > clock_timestamp() - interval '1 day' group by target;
