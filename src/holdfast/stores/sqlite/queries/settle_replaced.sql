insert into receipts (event_id, subscription, processed_at, attempts)
select value, :subscription, :now, :attempts from json_each(:ids) where true
on conflict do update set processed_at = excluded.processed_at, attempts = excluded.attempts;
