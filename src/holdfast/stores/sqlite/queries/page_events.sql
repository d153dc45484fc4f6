-- Of the events given, in their order, those that a filter means, each as the view event_store shows it. Said in words of
-- its own: which subscriptions a name concerns is found once for all events of that name. A payload without a backslash
-- has each of its values as it is written, and need not be read where the text looked for is nowhere in it.
with meant as materialized (
    select given.key as n, e.position, e.id, e.tenant_id, e.event_name, e.event_key, e.occurred_at,
        length(cast(e.payload as blob)) as payload_bytes
    from json_each(:positions) as given
    cross join event_log as e on e.position = given.value
    where (:event_id is null or e.id = :event_id)
        and (:name is null or holdfast_matches(:name, e.event_name))
        and (:tenant_id is null or e.tenant_id = :tenant_id)
        and (:key is null or e.event_key = :key)
        and (:since is null or e.occurred_at >= :since)
        and (:until is null or e.occurred_at < :until)
        and (:correlation_id is null or coalesce(
            case when json_valid(e.headers) then json_extract(e.headers, '$.correlation_id') end, e.id) = :correlation_id)
        and case
            when :payload_value is null then 1
            when instr(e.payload, :payload_value) = 0 and instr(e.payload, '\') = 0 then 0
            else holdfast_at(cast(e.payload as blob), :payload_path) = :payload_value
        end
    order by given.key limit case when :status is null then :limit else -1 end
), concerned as materialized (
    select named.event_name, s.id as subscription, s.start_horizon, s.start_position,
        (select min(c.done) from cursors as c where c.subscription = s.id) as done
    from (select distinct event_name from meant) as named join subscriptions as s
    where exists (select 1 from json_each(s.patterns) as pattern where holdfast_matches(pattern.value, named.event_name))
), windows as materialized (
    select c.subscription, c.done, c.open, c.position
    from cursors as c join leases as l on l.subscription = c.subscription and l.partition = c.partition
    where l.lease_until > :now and c.open is not null
), judged as materialized (
    select meant.*, max(
        coalesce((
            select max(case d.state when 'dead' then 4 when 'retrying' then 3 when 'running' then 2 when 'pending' then 1 end)
            from deliveries as d where d.position = meant.position), 0),
        coalesce((
            -- What all cursors have passed without a receipt was not this subscription's at the time.
            select max(case when exists (
                select 1 from windows as w where w.subscription = c.subscription
                    and meant.position > w.done and meant.position <= w.open and meant.position >= w.position)
                then 2 else 1 end)
            from concerned as c
            where c.event_name = meant.event_name and meant.position > c.done
                and (meant.position > c.start_horizon or meant.position >= c.start_position)
                and not exists (
                    select 1 from receipts as r where r.event_id = meant.id and r.subscription = c.subscription)
                and not exists (
                    select 1 from deliveries as d where d.position = meant.position and d.subscription = c.subscription)
        ), 0)) as stage
    from meant
), shown as (
    select judged.*, case stage
        when 4 then 'dead' when 3 then 'failed' when 2 then 'processing' when 1 then 'pending' else 'processed'
    end as status
    from judged
)
select position, id, tenant_id, event_name, event_key, status,
    (select count(*) from attempts as a where a.event_id = shown.id and a.outcome <> 'put off') as retries, occurred_at,
    case stage when 0 then (select max(r.processed_at) from receipts as r where r.event_id = shown.id) end as processed_at,
    payload_bytes
from shown
where :status is null or status = :status
order by n limit :limit;
