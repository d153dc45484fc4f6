-- Of the events given, in their order, those that a filter means, each as the view event_store shows it. Said in words of
-- its own, as each call of the view's functions costs more than its answer: receipts and delivery rows are looked up once
-- for each event, and who has still to see it is found for all together. What no JSON reader takes (\u0000, half of a pair
-- of surrogates) would be an error of "#>>".
with meant as materialized (
    select given.n, e.position, e.day, e.id, e.txid, e.slot, e.tenant_id, e.event_name, e.event_key, e.occurred_at,
        octet_length(e.payload::text) as payload_bytes
    from unnest(%(positions)s::bigint[], %(days)s::integer[]) with ordinality as given(position, day, n)
    join :"schema".event_log as e on e.day = date '2000-01-01' + given.day and e.position = given.position
    where (%(event_id)s::uuid is null or e.id = %(event_id)s::uuid)
        and (%(regex)s::text is null or e.event_name ~ %(regex)s::text)
        and (%(tenant_id)s::text is null or e.tenant_id = %(tenant_id)s::text)
        and (%(key)s::text is null or e.event_key = %(key)s::text)
        and (%(since)s::timestamptz is null or e.occurred_at >= %(since)s::timestamptz)
        and (%(until)s::timestamptz is null or e.occurred_at < %(until)s::timestamptz)
        and (%(correlation_id)s::text is null or coalesce(
            substring(e.headers::text from '"correlation_id"\s*:\s*"([^"\\]+)"'), e.id::text) = %(correlation_id)s::text)
        and case
            when %(payload_value)s::text is null then true
            when position('\u' in e.payload::text) > 0
                and regexp_replace(e.payload::text, '\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}', '', 'gi')
                    ~* '\\u(0000|d[89a-f][0-9a-f]{2})' then false
            else e.payload #>> %(payload_path)s::text[] = %(payload_value)s::text
                and json_typeof(e.payload #> %(payload_path)s::text[]) in ('string', 'number', 'boolean')
        end
    order by given.n limit case when %(status)s::text is null then %(limit)s::bigint end
), known as materialized (
    select e.*, handled.by, handled.at, parked.for_whom, parked.states
    from meant as e
    cross join lateral (
        select coalesce(array_agg(r.subscription), '{}') as by, max(r.processed_at) as at
        from :"schema".receipts as r where r.event_id = e.id and r.day = e.day
    ) as handled
    cross join lateral (
        select coalesce(array_agg(d.subscription), '{}') as for_whom, coalesce(array_agg(d.state), '{}') as states
        from :"schema".deliveries as d where d.event_id = e.id
    ) as parked
), places as materialized (
    select s.id, s.partitions, s.start_snapshot, s.start_position, array_agg(c.done order by c.partition) as done,
        array_agg(c.open order by c.partition) as open, array_agg(c.position order by c.partition) as position,
        array_agg(l.lease_until > clock_timestamp() order by c.partition) as is_leased
    from :"schema".subscriptions as s
    join :"schema".cursors as c on c.subscription = s.id
    join :"schema".leases as l on l.subscription = c.subscription and l.partition = c.partition
    group by s.id
), interests as materialized (
    select named.event_name, s.id
    from (select distinct event_name from meant) as named
    join :"schema".subscriptions as s on exists (select from unnest(s.regexes) as regex where named.event_name ~ regex)
), waiting as (
    -- What a cursor has passed without a receipt was not its subscription's at the time.
    select e.n, bool_or((place.is_leased and pg_visible_in_snapshot(e.txid, place.open)) is true) as is_open
    from known as e
    join interests on interests.event_name = e.event_name
    join places as s on s.id = interests.id
    cross join lateral (
        select s.done[n] as done, s.open[n] as open, s.position[n] as position, s.is_leased[n] as is_leased
        from (select 1 + e.slot %% s.partitions as n) as of_event offset 0
    ) as place
    where s.id <> all (e.by) and s.id <> all (e.for_whom)
        and (not pg_visible_in_snapshot(e.txid, s.start_snapshot) or e.position >= s.start_position)
        and not pg_visible_in_snapshot(e.txid, place.done)
        and (place.open is null or not pg_visible_in_snapshot(e.txid, place.open) or e.position >= place.position)
    group by e.n
), judged as (
    select known.*, case
        when 'dead' = any (states) then 'dead'
        when 'retrying' = any (states) then 'failed'
        when 'running' = any (states) or waiting.is_open then 'processing'
        when 'pending' = any (states) or waiting.n is not null then 'pending'
        else 'processed'
    end as status
    from known left join waiting on waiting.n = known.n
)
select e.position, e.id, e.tenant_id, e.event_name, e.event_key, e.status, (
        select count(*) from :"schema".attempts as a
        where a.event_id = e.id and a.outcome <> 'put off') as retries, e.occurred_at,
    case when e.status = 'processed' then e.at end as processed_at, e.payload_bytes
from judged as e
where %(status)s::text is null or e.status = %(status)s::text
order by e.n limit %(limit)s;
