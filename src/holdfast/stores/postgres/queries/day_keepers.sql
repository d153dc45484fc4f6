-- Which subscriptions keep a day, and what each wants to become of what it has not handled of it.
select s.id, s.name, s.behind_retention from :"schema".subscriptions as s
where s.name = any(:"schema".day_kept_by(to_date(%(suffix)s::text, 'YYYYMMDD'))) order by s.name;
