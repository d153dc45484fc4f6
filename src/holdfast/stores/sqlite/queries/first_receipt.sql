-- Not where the event is dead or discarded: then the handler must not run.
insert into receipts (event_id, subscription, processed_at, attempts)
select :event_id, :subscription, :now, :attempts
where not exists (
    select 1 from deliveries
    where subscription = :subscription and event_id = :event_id and state in ('dead', 'discarded'))
on conflict do nothing;
