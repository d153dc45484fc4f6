-- Before a handler's transaction commits: its lease stands, and stays until the commit.
select :"schema".require_epoch(%(subscription)s, %(partition)s, %(epoch)s);
