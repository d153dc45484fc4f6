-- Which of these events the seals have passed: they would be sealed if they had been there in time.
select position, id from event_log
where position in (select value from json_each(:positions)) and position <= :highest;
