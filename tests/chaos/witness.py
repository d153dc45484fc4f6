"""
Who writes what belongs to a partition: triggers look whose it is, and note each row that somebody else writes.

On PostgreSQL they look at the commit, and ask for more: it must have the partition's lease in its hands, locked or
written. What passes the fence by is noted so, also of the owner itself under whatever epoch. On SQLite a writer has the
whole file, and the fence is a question in there that leaves nothing behind: only the owner can be told from others.

What no database sees is the epoch that a worker means. It is a parameter of the fence and stands in no row: that a fence
lets an older epoch of the owner pass would be seen by ``tests/contract`` and ``tests/statements``, and not here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import holdfast.stores.sqlite
from holdfast.stores.sqlite import SQLiteStore

if TYPE_CHECKING:
    import sqlite3

TABLE = "create table stale_writes (told text)"
# Whoever keeps house may date a waiting row anew, whosever it is; nothing else of it.
_CHANGED = """
    (new.state, new.attempts, new.put_offs, new.claim, new.reason) is {}
    (old.state, old.attempts, old.put_offs, old.claim, old.reason)
"""
_KEPT = "old.state <> 'discarded'"  # which retention drops
# Sessions that do not say that they are a worker's write nothing that is watched: registration, replay, operators.
# What locks a row is a transaction's number, or that of several together; which of the two, the row does not tell.
POSTGRES = f"""
    {TABLE};
    create function has_in_hand(written xid, locked xid) returns boolean language plpgsql as $$
    declare
        mine xid := pg_current_xact_id()::xid;
    begin
        if mine in (written, locked) then
            return true;
        end if;
        return exists (select from pg_get_multixact_members(locked) as together where together.xid = mine);
    exception when others then
        return false;
    end $$;
    create function watch() returns trigger language plpgsql security definer as $$
    declare
        writer text := current_setting('chaos.writer', true);
        place record := case when tg_op = 'DELETE' then old else new end;
        lease record;
    begin
        if coalesce(writer, '') = '' then
            return null;
        end if;
        select w.pid as owner, has_in_hand(l.xmin, l.xmax) as is_held into lease
        from holdfast.leases as l left join holdfast.workers as w on w.id = l.owner
        where l.subscription = place.subscription and l.partition = place.partition;
        if lease.owner <> writer::integer then
            insert into stale_writes values (format('%s: process %s wrote partition %s of subscription %s, which '
                'process %s owned', tg_table_name, writer, place.partition, place.subscription, lease.owner));
        elsif not lease.is_held then
            insert into stale_writes values (format('%s: process %s wrote partition %s of subscription %s without its '
                'lease in hand', tg_table_name, writer, place.partition, place.subscription));
        end if;
        return null;
    end $$;
    create constraint trigger watch_moves after update on holdfast.cursors
        deferrable initially deferred for each row execute function watch();
    create constraint trigger watch_inserts after insert on holdfast.deliveries
        deferrable initially deferred for each row execute function watch();
    create constraint trigger watch_changes after update on holdfast.deliveries
        deferrable initially deferred for each row when ({_CHANGED.format("distinct from")}) execute function watch();
    create constraint trigger watch_deletes after delete on holdfast.deliveries
        deferrable initially deferred for each row when ({_KEPT}) execute function watch();
"""
_SQLITE = (
    ("update on cursors", "true", "cursors", "new"),
    ("insert on deliveries", "true", "deliveries", "new"),
    ("update on deliveries", _CHANGED.format("not"), "deliveries", "new"),
    ("delete on deliveries", _KEPT, "deliveries", "old"),
)


def witnessed(dsn: str) -> str:
    """The DSN by which this process is to connect, so that all its connections are watched."""
    if dsn.startswith("sqlite"):
        holdfast.stores.sqlite.SQLiteStore = WatchedStore  # type: ignore[misc]
        return dsn
    return f"{dsn}?options=-c%20chaos.writer%3D{os.getpid()}"


class WatchedStore(SQLiteStore):
    """Its connections have triggers of their own, which know the process."""

    def _connect(self, **options: Any) -> sqlite3.Connection:
        connection = super()._connect(**options)
        for number, (event, condition, table, row) in enumerate(_SQLITE):
            connection.execute(f"""
                create temp trigger watch_{number} after {event} when {condition} begin
                    insert into stale_writes
                    select '{table}: process {os.getpid()} wrote partition ' || l.partition || ' of subscription '
                        || l.subscription || ', which process ' || w.pid || ' owned'
                    from leases as l join workers as w on w.id = l.owner
                    where l.subscription = {row}.subscription and l.partition = {row}.partition
                        and w.pid <> {os.getpid()};
                end""")
        return connection
