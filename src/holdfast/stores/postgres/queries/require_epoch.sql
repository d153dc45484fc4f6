-- Before a handler's transaction commits: it is the one that the handler was lent, and its lease stands until the commit.
select :"schema".require_epoch(%(subscription)s, %(partition)s, %(epoch)s, %(transaction)s::xid8);
