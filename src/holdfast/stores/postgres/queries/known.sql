-- Of these events, those that this subscription has dealt with or has in its delivery rows, in any state.
select r.event_id from :"schema".receipts as r
join unnest(%(ids)b::uuid[], %(days)b::integer[]) as e(id, day) on r.event_id = e.id and r.day = date '2000-01-01' + e.day
where r.subscription = %(subscription)s
union
select d.event_id from :"schema".deliveries as d
where d.subscription = %(subscription)s and d.event_id = any(%(ids)b::uuid[]);
