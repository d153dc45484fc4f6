-- 0010 keys
-- Why:   payloads can be encrypted per subject (tenant and key, or a tenant alone); who drops a subject's key erases them.
-- Phase: pre.
-- Locks: none that matter, everything is new.
-- Undo:  roll forward. Without "encryption=" the table stays empty. Dropping it loses every encrypted payload.
create table :"schema".subject_keys (
    id uuid primary key,
    tenant_id text not null,
    event_key text,
    master text not null,
    wrapped text,
    created_at timestamptz not null default clock_timestamp(),
    retired_at timestamptz,
    constraint erased_is_retired check (wrapped is not null or retired_at is not null)
);
comment on table :"schema".subject_keys is
    'Data keys, wrapped by a master key that is not in the database. An event names its data key in its payload.';
comment on column :"schema".subject_keys.wrapped is 'Base64. Null: erased.';
comment on column :"schema".subject_keys.retired_at is 'From here on nothing new is encrypted with it.';
-- A subject has one key in use. No key is empty, so that an empty one stands for none.
create unique index subject_keys_subject_idx on :"schema".subject_keys (tenant_id, coalesce(event_key, ''))
    where retired_at is null;
create index subject_keys_key_idx on :"schema".subject_keys (event_key) where wrapped is not null;
