-- 0006 keys
-- Why:   payloads can be encrypted per subject (tenant and key, or a tenant alone); who drops a subject's key erases them.
-- Phase: pre.
-- Locks: the file's write lock for a few milliseconds.
-- Undo:  roll forward. Without "encryption=" the table stays empty. Dropping it loses every encrypted payload.

-- Data keys, wrapped by a master key that is not in the file. An event names its data key in its payload.
create table subject_keys (
    id text primary key,
    tenant_id text not null,
    event_key text,
    master text not null,
    wrapped text, -- Base64; null: erased
    created_at text not null,
    retired_at text, -- from here on nothing new is encrypted with it
    constraint erased_is_retired check (wrapped is not null or retired_at is not null)
) without rowid;
-- A subject has one key in use. No key is empty, so that an empty one stands for none.
create unique index subject_keys_subject_idx on subject_keys (tenant_id, coalesce(event_key, ''))
    where retired_at is null;
create index subject_keys_key_idx on subject_keys (event_key) where wrapped is not null;
