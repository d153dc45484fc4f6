-- Whether any subscription lets go of what it has not handled.
select exists (select from :"schema".subscriptions where behind_retention <> 'hold');
