-- Why a login cannot be bound to a tenant; null: it can.
select :"schema".unbound_because(%(login)s::text::name);
