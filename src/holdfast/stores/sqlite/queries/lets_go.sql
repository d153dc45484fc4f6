-- Whether any subscription lets go of what it has not handled.
select exists (select 1 from subscriptions where behind_retention <> 'hold');
