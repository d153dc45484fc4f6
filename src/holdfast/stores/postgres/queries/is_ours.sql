-- Whether the transaction that a handler was lent is still under way; of one that has ended, whether it left nothing.
select coalesce(pg_current_xact_id_if_assigned() = %(transaction)s::xid8, pg_xact_status(%(transaction)s::xid8) = 'aborted');
