-- Each time that a row is taken has a number, so that what is written about it late cannot be about the time after.
update deliveries set state = 'running', claim = claim + 1, updated_at = :now
where id in (select value from json_each(:ids)) and state in ('pending', 'retrying') and due_at <= :now;
