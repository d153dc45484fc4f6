-- 0011 tenants
-- Why:   a login can be bound to tenants: by plain SQL it sees and publishes their events, and nothing else.
-- Phase: pre.
-- Locks: none that matter, everything is new. No table that workers use is changed, and no plan of theirs.
-- Undo:  roll forward. Without "holdfast roles tenant add" nobody is bound.
--
-- Whose session it is, "session_user" says: who logged in. It stays the same within functions that run with their owner's
-- rights, and after SET ROLE, which "current_user" does not.

create table :"schema".tenant_grants (
    login name not null,
    tenant_id text not null check (length(tenant_id) between 1 and 255),
    created_at timestamptz not null default clock_timestamp(),
    primary key (login, tenant_id)
);
comment on table :"schema".tenant_grants is 'Which tenants a login is bound to. It needs the role that "migrate --roles" makes, too.';

create function :"schema".session_tenants() returns text[]
language sql stable security definer
begin atomic
    select coalesce(array_agg(g.tenant_id), '{}') from :"schema".tenant_grants as g where g.login = session_user;
end;

-- "security_barrier": a condition of whoever asks is looked at after ours, unless it is a leakproof one of PostgreSQL's own.
-- Functions in a view run with the rights of whoever asks, and so status and retries have one of their own below.
create view :"schema".tenant_events with (security_barrier) as
select e.id, e.tenant_id, e.event_name, e.event_key, e.payload, e.headers, e.occurred_at
from :"schema".event_log as e
where e.tenant_id = any ((select :"schema".session_tenants())::text[]);

create view :"schema".tenant_consumers with (security_barrier) as
select r.event_id, e.tenant_id, s.name as consumer_name, r.processed_at, r.attempts
from :"schema".event_log as e
join :"schema".receipts as r on r.event_id = e.id and r.day = e.day
join :"schema".subscriptions as s on s.id = r.subscription
where e.tenant_id = any ((select :"schema".session_tenants())::text[]);

-- Without reasons and errors: what handlers say of an event may say something of others.
create view :"schema".tenant_deliveries with (security_barrier) as
select d.event_id, d.tenant_id, s.name as consumer_name, d.state, d.attempts, d.due_at, d.updated_at
from :"schema".deliveries as d join :"schema".subscriptions as s on s.id = d.subscription
where d.tenant_id = any ((select :"schema".session_tenants())::text[]);

-- What became of an event of this session's tenants; null where there is none.
create function :"schema".tenant_status(event_id uuid) returns text
language sql stable security definer
begin atomic
    select s.status from :"schema".event_store as s
    where s.id = tenant_status.event_id and s.tenant_id = any (:"schema".session_tenants());
end;

-- Store an event for a tenant of this session; returns its id. The same id and content again is the same event. What is
-- said of an id that is taken is the same whoever has it.
create function :"schema".tenant_publish(
    event_name text, payload json, event_key text default null, tenant_id text default null, id uuid default null,
    headers json default null, occurred_at timestamptz default null
) returns uuid
language plpgsql security definer set search_path = :"schema", pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    tenants text[] := session_tenants();
    tenant text := coalesce(tenant_publish.tenant_id, case when cardinality(tenants) = 1 then tenants[1] end);
    wanted uuid := coalesce(tenant_publish.id, uuid7());
    differs boolean;
begin
    if tenant is null or tenant <> all (tenants) then
        raise exception 'this login may not publish for %', coalesce('tenant ' || quote_literal(tenant), 'no tenant')
            using errcode = 'insufficient_privilege', hint = 'Give tenant_id => one of those that the login is bound to.';
    end if;
    -- An id may lie on any day, where no common unique index is met.
    perform pg_advisory_xact_lock(hashtextextended(wanted::text, 7026));
    if not exists (select from event_log as e where e.id = wanted) then
        insert into event_log as e (id, day, occurred_at, tenant_id, event_name, event_key, payload, headers)
        values (wanted, event_day(wanted), coalesce(tenant_publish.occurred_at, clock_timestamp()), tenant,
            tenant_publish.event_name, tenant_publish.event_key, tenant_publish.payload, tenant_publish.headers)
        on conflict (id, day) do nothing;
    end if;
    select not (e.tenant_id = tenant and e.event_name = tenant_publish.event_name
        and e.event_key is not distinct from tenant_publish.event_key
        and (e.payload::text = tenant_publish.payload::text or e.payload::text = '{"holdfast.erased":true}'))
    into differs from event_log as e where e.id = wanted;
    if differs then
        raise exception 'the id % has other content', wanted using errcode = 'unique_violation';
    end if;
    return wanted;
end
$$;

-- Why a login could see more than its tenants, whatever it is bound to; null: it cannot.
create function :"schema".unbound_because(login name) returns text
language sql stable
begin atomic
    select case
        when not exists (select from pg_roles where rolname = unbound_because.login) then 'there is no such role'
        when not exists (select from pg_roles where rolname = unbound_because.login and rolcanlogin) then 'it cannot log in'
        else (
            -- SET ROLE reaches every role that it is a member of, inherited or not.
            select format('as %I it has rights on %I', r.rolname, c.relname)
            from pg_roles as r
            cross join pg_class as c
            where c.relnamespace = ':"schema"'::regnamespace and c.relkind in ('r', 'p', 'v')
                and c.relname not in ('tenant_events', 'tenant_consumers', 'tenant_deliveries')
                and pg_has_role(unbound_because.login, r.oid, 'member')
                and (has_any_column_privilege(r.oid, c.oid, 'select, insert, update')
                    or has_table_privilege(r.oid, c.oid, 'delete, truncate, trigger'))
            order by r.rolname, c.relname limit 1)
    end;
end;

create function :"schema".bind_tenant(login name, tenant text) returns void
language plpgsql set search_path = :"schema", pg_catalog, pg_temp as $$
declare
    problem text := unbound_because(login);
begin
    if problem is not null then
        raise exception 'login % cannot be bound to a tenant: %', quote_ident(login), problem
            using errcode = 'invalid_grant_operation';
    end if;
    insert into tenant_grants (login, tenant_id) values (login, tenant) on conflict do nothing;
    execute format('grant %I to %I', ':"schema"_tenant', login);
end
$$;

create function :"schema".unbind_tenant(login name, tenant text) returns bigint
language plpgsql set search_path = :"schema", pg_catalog, pg_temp as $$
declare
    removed bigint;
begin
    delete from tenant_grants as g
    where g.login = unbind_tenant.login and (unbind_tenant.tenant is null or g.tenant_id = unbind_tenant.tenant);
    get diagnostics removed = row_count;
    if not exists (select from tenant_grants as g where g.login = unbind_tenant.login)
        and exists (select from pg_roles where rolname = unbind_tenant.login) then
        execute format('revoke %I from %I', ':"schema"_tenant', unbind_tenant.login);
    end if;
    return removed;
end
$$;
