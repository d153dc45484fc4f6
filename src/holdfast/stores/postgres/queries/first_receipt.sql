-- A transactional handler's receipt, before its writes: only under the epoch, and only if the event is not dead.
-- Nothing is inserted when it was handled before; a rival that is handling it now is waited for. The lease is not
-- locked here, or a long handler would keep it from a successor: require_epoch looks again, with the lock, at the end.
-- A replay has a receipt already: its delivery row goes with its effect, and who finds none has come too late.
-- A worker that stands still must not keep its event from its successor for ever: the server ends its transaction. And
-- whoever waits for such a one waits in short turns, which count as no attempt; the handler waits as is usual here.
-- Returns the transaction's id, by which it is known again at the end.
with usual as materialized (
    select current_setting('lock_timeout') as lock_timeout
), bounds as materialized (
    select set_config('idle_in_transaction_session_timeout', %(idle)s, true), set_config('lock_timeout', '2s', true)
    from usual
), fence as materialized (
    select from bounds, :"schema".leases
    where subscription = %(subscription)s and partition = %(partition)s and epoch = %(epoch)s
        and owner is not null
), finished as (
    delete from :"schema".deliveries as d
    using fence
    where %(replaces)s and d.subscription = %(subscription)s and d.event_id = %(id)b::uuid and d.state = 'running'
    returning d.id
)
insert into :"schema".receipts as r (day, subscription, event_id, attempts)
select date '2000-01-01' + %(day)s::integer, %(subscription)s, %(id)b::uuid, %(attempts)s
from fence
where case when %(replaces)s then exists (select from finished)
    else not exists (
        select from :"schema".deliveries as d
        where d.subscription = %(subscription)s and d.event_id = %(id)b::uuid and d.state in ('dead', 'discarded')) end
on conflict (event_id, subscription, day) do update set processed_at = clock_timestamp(), attempts = excluded.attempts
    where %(replaces)s
returning pg_current_xact_id()::text, set_config('lock_timeout', (select lock_timeout from usual), true);
