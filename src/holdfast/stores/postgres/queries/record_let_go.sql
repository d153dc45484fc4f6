-- The visible record, in the audit.
select :"schema".record_let_go(%(target)s::text, %(detail)s::text::json, %(events)s::bigint);
