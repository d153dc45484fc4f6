-- Take up again what was cancelled, or what nobody has advanced for a minute, or for three of its pauses.
update replays set state = 'running', finished_at = null, advanced_at = :now
where id = :replay and until_position is not null and (state = 'cancelled'
    or state = 'running' and julianday(advanced_at) < julianday(:now) - max(60, 3 / rate) / 86400.0)
returning subscription, (select s.name from subscriptions as s where s.id = replays.subscription), filters, rate, done,
    position, until_position;
