-- The visible record, in the audit.
insert into audit (at, actor, action, target, detail, count, allowed)
values (:now, 'retention', 'let go', :target, :detail, :events, 1);
