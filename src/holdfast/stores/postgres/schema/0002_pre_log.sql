-- 0002 log
-- Why:   the event log and the receipts, in partitions of a day each, so that retention drops whole partitions.
-- Phase: pre.
-- Locks: none that matter, everything is new.
-- Undo:  roll forward.

-- Version 7, made where a plain INSERT gives no id: 48 bits of milliseconds, then the random bits of a version 4.
create function :"schema".uuid7() returns uuid
language sql volatile parallel safe set search_path = pg_catalog, pg_temp as $$
    select (lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0')
        || '7' || substr(random_hex, 14))::uuid
    from (select replace(gen_random_uuid()::text, '-', '') as random_hex) as source
$$;

-- The UTC day of a version 7 id where that is at most one day gone by the clock, or at most seven to come, else today:
-- the same id sent again must land on the same day to meet its unique index, also where the clock was set back between
-- the two. Seven, as partitions are made so many days ahead. One expression and volatile, or PostgreSQL would not inline
-- it, and a call for each row is half of what a bulk insert costs.
create function :"schema".event_day(event_id uuid) returns date
language sql volatile parallel safe
return
    case
        when get_byte(uuid_send(event_id), 6) >> 4 = 7 and abs(
            (('x' || encode(substr(uuid_send(event_id), 1, 6), 'hex'))::bit(48)::bigint / 86400000)::integer
            - (extract(epoch from clock_timestamp())::bigint / 86400)::integer - 3) <= 4  -- from -1 to 7
        then date '1970-01-01'
            + (('x' || encode(substr(uuid_send(event_id), 1, 6), 'hex'))::bit(48)::bigint / 86400000)::integer
        else (clock_timestamp() at time zone 'UTC')::date
    end;

create function :"schema".slot_of(tenant_id text, event_key text, id uuid) returns smallint
language sql immutable parallel safe
return (hashtextextended(tenant_id || E'\x1f' || coalesce(event_key, id::text), 0) & 32767)::smallint;

create sequence :"schema".event_position;
-- Whoever may insert draws a position by the column's default, with his own rights.
grant usage on sequence :"schema".event_position to public;

create table :"schema".event_log (
    txid xid8 not null default pg_current_xact_id(),
    position bigint not null default nextval(':"schema".event_position'),
    day date not null default (clock_timestamp() at time zone 'UTC')::date,
    id uuid not null default :"schema".uuid7()
        constraint id_not_nil check (id <> '00000000-0000-0000-0000-000000000000'),
    occurred_at timestamptz not null default clock_timestamp()
        constraint occurred_at_of_our_era check (
            occurred_at >= '0001-01-01 00:00:00Z' and occurred_at < '10000-01-01 00:00:00Z'),
    slot smallint not null generated always as (:"schema".slot_of(tenant_id, event_key, id)) stored,
    tenant_id text not null default 'default'
        constraint tenant_id_length check (length(tenant_id) between 1 and 255),
    event_name text not null
        constraint event_name_segments check (
            length(event_name) <= 200 and event_name ~ '^[A-Za-z0-9_:/-]+(\.[A-Za-z0-9_:/-]+)*$'),
    event_key text
        constraint event_key_length check (length(event_key) between 1 and 255),
    payload json not null,
    headers json,
    primary key (id, day)
) partition by range (day);
-- Position and day lie in the index so that where a window begins and ends is found there, without a look at its events.
create index event_log_txid_idx on :"schema".event_log (txid) include (position, day);
create index event_log_position_idx on :"schema".event_log (position);

create table :"schema".receipts (
    day date not null,
    subscription integer not null,
    event_id uuid not null,
    processed_at timestamptz not null default clock_timestamp(),
    attempts integer not null default 1,
    primary key (event_id, subscription, day)
) partition by range (day);

-- A publish never fails for want of a day's partition. Rows that land here stay here: moving them would hide them
-- from a concurrent read, and the cursor would pass them.
create table :"schema".event_log_default partition of :"schema".event_log default;
create table :"schema".receipts_default partition of :"schema".receipts default;

-- A publish that could be lost in a crash after it was handled would leave effects of events that never existed.
create function :"schema".commit_synchronously() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if current_setting('synchronous_commit') = 'off' then
        perform set_config('synchronous_commit', 'on', true);
    end if;
    return null;
end
$$;
create trigger commit_synchronously before insert on :"schema".event_log
    for each statement execute function :"schema".commit_synchronously();
alter table :"schema".event_log enable always trigger commit_synchronously;
create trigger commit_synchronously before insert on :"schema".event_log_default
    for each statement execute function :"schema".commit_synchronously();
alter table :"schema".event_log_default enable always trigger commit_synchronously;

-- Make one day's partitions of log and receipts; false where the default partition already holds rows of that day.
-- The tables are made first and attached then, which takes a lighter lock than "create table ... partition of".
-- With the owner's rights, so that a worker needs no more than the right to call it.
create function :"schema".make_day(wanted date) returns boolean
language plpgsql security definer set search_path = :"schema", pg_catalog, pg_temp as $$
declare
    log_name text := 'event_log_' || to_char(wanted, 'YYYYMMDD');
    receipts_name text := 'receipts_' || to_char(wanted, 'YYYYMMDD');
begin
    perform set_config('lock_timeout', '100ms', true);
    lock table only event_log in share update exclusive mode;  -- one at a time; what waited sees what the other made
    if to_regclass(':"schema".' || log_name) is not null then
        return true;
    end if;
    if exists (select from event_log_default where day = wanted)
        or exists (select from receipts_default where day = wanted) then
        return false;
    end if;
    execute format('create table %I (like event_log including defaults including constraints including generated)', log_name);
    execute format('create trigger commit_synchronously before insert on %I for each statement
        execute function commit_synchronously()', log_name);
    execute format('alter table %I enable always trigger commit_synchronously', log_name);
    execute format('create table %I (like receipts including defaults)', receipts_name);
    execute format('alter table event_log attach partition %I for values from (%L) to (%L)', log_name, wanted, wanted + 1);
    execute format('alter table receipts attach partition %I for values from (%L) to (%L)', receipts_name, wanted, wanted + 1);
    return true;
end
$$;
revoke execute on function :"schema".make_day(date) from public;
