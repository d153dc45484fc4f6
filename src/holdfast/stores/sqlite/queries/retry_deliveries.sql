-- Fresh attempts, due now; what the attempts before said is kept.
update deliveries set state = 'pending', attempts = 0, put_offs = 0, due_at = :now, updated_at = :now
where id in (select value from json_each(:deliveries)) and state = 'dead'
returning id;
