"""Looking at the PostgreSQL store: the shared reading over a session of its own, and what doctor asks of a server."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from holdfast.errors import HoldfastError, PermissionDenied, SchemaMismatch
from holdfast.ports import wall_millis
from holdfast.stores.columns import as_json
from holdfast.stores.inspecting import Inspecting, filter_parameters
from holdfast.stores.postgres.version import SCHEMA_VERSION
from holdfast.stores.records import Count, Fact
from holdfast.stores.storage import OpenTransaction, Retention, Storage, TableStorage
from holdfast.wording import counted, sized

if TYPE_CHECKING:
    from holdfast.stores.filters import EventFilter
    from holdfast.stores.postgres.store import PostgresStore

_TIMEOUT = 60.0
_SKEW_SECONDS_MAX = 2.0
_OLDEST_VERSION = 140000
_DAYS_AHEAD_MIN = 2
_FIRST_DAY = date(2000, 1, 1)  # days are counted from here


class PostgresInspector(Inspecting):
    """See `holdfast.stores.inspector.Inspector`."""

    def __init__(self, store: PostgresStore) -> None:
        self._statements, self._where, self._schema = store._statements, store._where, store._schema  # noqa: SLF001 - a part of the store
        self.session = store._session("inspect", _TIMEOUT)  # noqa: SLF001
        self._version_is_right = False

    async def rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        await self.require_version()
        return await self.session.run(self._statements[statement], parameters)

    async def require_version(self) -> None:
        """Raise SchemaMismatch unless the tables are of this release."""
        if self._version_is_right:
            return
        found = (await self.session.run(self._statements["schema_version"]))[0][0]
        if found != SCHEMA_VERSION:
            raise SchemaMismatch(self._where, found, SCHEMA_VERSION)
        self._version_is_right = True

    async def backlogs(self, *, bound: int, tenant_id: str | None) -> dict[int, tuple[Any, ...]]:
        found = await self.rows("subscription_backlogs", bound=bound, tenant_id=tenant_id)
        return {row[0]: row[1:] for row in found}

    async def estimate(self, filter: EventFilter) -> Count:
        exact = filter.name if filter.name is not None and "*" not in filter.name else None
        asked = filter_parameters(filter) | {"exact_name": exact}
        if exact is not None:
            asked["regex"] = None
        ((plan,),) = await self.rows("estimate_events", **asked)
        return Count(as_json(plan)[0]["Plan"]["Plan Rows"], "estimate")

    async def storage(self) -> Storage:
        tables = tuple([as_table(row) for row in await self.rows("storage_tables")])
        opened = [OpenTransaction(*row) for row in await self.rows("storage_server")]
        size = sum((one.bytes or 0) + (one.index_bytes or 0) for one in tables)
        return Storage(size, tables, await self._indexes(), oldest_transaction=opened[0] if opened else None)

    async def retention_preview(self, seconds: float) -> Retention:
        droppable = kept = 0
        blocking: set[str] = set()
        for day in await self._old_days(seconds):
            ((events, blockers),) = await self.rows("retention_day", day=day)
            blocking |= set(blockers)
            if blockers:
                kept += events
            else:
                droppable += events
        ((young,),) = await self.rows("old_of_young_day", retention=float(seconds))
        return Retention(droppable, kept, tuple(sorted(blocking)), young)

    async def retention_blockers(self, seconds: float) -> set[str]:
        blockers: set[str] = set()
        for day in (await self._old_days(seconds))[:1]:
            ((_, found),) = await self.rows("retention_day", day=day)
            blockers = set(found)
        return blockers

    async def _old_days(self, seconds: float) -> list[date]:
        rows = await self.rows("old_days", retention=float(seconds))
        return [datetime.strptime(f"{suffix}+0000", "%Y%m%d%z").date() for (suffix,) in rows]

    async def days_ahead(self) -> int:
        ((days,),) = await self.rows("days_ahead")
        return days or 0

    async def facts(self) -> list[Fact]:
        asked = wall_millis()
        try:
            ((*server, usage, tables, asynchronous_by, read_only_by, holding),) = await self.session.run(
                self._statements["facts_server"], {"schema": self._schema}
            )
        except HoldfastError as error:
            return [
                Fact("connection", str(error), "problem", "check host, port, user, password and database of the DSN")
            ]
        facts = [Fact("connection", f"{self._where} answers")]
        facts += server_facts(server, (asked + wall_millis()) / 2)
        facts += [read_only_fact(read_only_by), synchronous_fact(asynchronous_by, server[6]), holding_fact(holding)]
        if not tables:
            return [*facts, Fact("schema", f"no tables in {self._where}", "problem", "run  holdfast migrate")]
        fix = worker_grant(self._schema, role=server[3])
        if not usage:
            return [*facts, Fact("permissions", f"this role may not use {self._where}", "problem", fix)]
        try:
            (row,) = await self.session.run(self._statements["facts_schema"])
        except PermissionDenied:
            return [*facts, Fact("permissions", f"this role may not read {self._where}", "problem", fix)]
        except HoldfastError as error:
            return [*facts, Fact("schema", str(error), "problem", "run  holdfast migrate")]
        return facts + schema_facts(row, fix)

    async def close(self) -> None:
        await self.session.close()


def as_table(row: tuple[Any, ...]) -> TableStorage:
    table, partition, day, *numbers = row
    since = None if day is None else _FIRST_DAY + timedelta(days=day)
    until = None if since is None else since + timedelta(days=1)
    return TableStorage(table, partition, since, until, *numbers)


def server_facts(server: list[Any], client_millis: float) -> list[Fact]:
    """What the server is, by the columns of facts_server."""
    version, version_text, database, role, standby, clock_millis, _, fsync, full_page_writes = server
    skew = (clock_millis - client_millis) / 1000
    return [
        Fact("PostgreSQL", version_text)
        if version >= _OLDEST_VERSION
        else Fact("PostgreSQL", version_text, "problem", "use PostgreSQL 14 or later"),
        Fact("database", f"{database}, as {role}"),
        Fact("standby", "no, it is the primary")
        if not standby
        else Fact("standby", "yes: it takes no writes", "problem", "point the DSN at the primary server"),
        Fact("clock skew", f"{skew:+.2f} s")
        if abs(skew) <= _SKEW_SECONDS_MAX
        else Fact("clock skew", f"{skew:+.1f} s", "note", "run NTP on both; only the server's clock decides about leases"),
        Fact("fsync", "on")
        if fsync == "on" and full_page_writes == "on"
        else Fact(
            "fsync", f"fsync {fsync}, full_page_writes {full_page_writes}", "note",
            "turn both on, unless the data may be lost: a crash can destroy the database",
        ),
    ]  # fmt: skip


def read_only_fact(owner: str | None) -> Fact:
    """Whether transactions of this session begin read-only, and who says so."""
    if owner is None:
        return Fact("read-only", "no")
    fix = f"{reset(owner, 'default_transaction_read_only', 'off')}; then restart what is connected"
    return Fact("read-only", f"yes, by default_transaction_read_only of {owner}", "problem", fix)


def synchronous_fact(owners: list[str], current: str) -> Fact:
    """Settings that make commits asynchronous. Holdfast's own are synchronous all the same, but for cursors."""
    if not owners:
        return Fact("synchronous_commit", current)
    return Fact(
        "synchronous_commit", f"off for {', '.join(owners)}: a crash may lose the last moments of all that is not Holdfast's", "note",
        "; ".join(reset(owner, "synchronous_commit", "on") for owner in owners),
    )  # fmt: skip


def reset(owner: str, setting: str, value: str) -> str:
    """How to undo a setting, by who made it as facts_server tells it."""
    match owner:
        case "DSN":
            return f"take {setting} out of the DSN or PGOPTIONS"
        case "server":
            return f"alter system set {setting} = {value}; select pg_reload_conf()"
        case _:
            return f"alter {owner} reset {setting}"


def worker_grant(schema: str, *, role: str) -> str:
    """How *role* gets what a worker needs."""
    quoted = role.replace('"', '""')
    return f'as the owner of the tables run  holdfast migrate --roles  and  grant "{schema}_worker" to "{quoted}"'


def holding_fact(holding: list[str]) -> Fact:
    """What keeps vacuum from removing dead rows."""
    if not holding:
        return Fact("vacuum held back", "no")
    return Fact(
        "vacuum held back", "; ".join(holding), "note",
        "end the transaction (pg_terminate_backend) or the standby's query, roll back or commit the prepared one, or drop "
        "the unused slot",
    )  # fmt: skip


def schema_facts(row: tuple[Any, ...], grant: str) -> list[Fact]:
    """What our tables say, by the columns of facts_schema."""
    version, same_server, row_security, in_default, days_ahead, future, missing, deliveries_bytes, log_bytes = row
    return [
        Fact("schema", f"version {version}")
        if version == SCHEMA_VERSION
        else Fact(
            "schema", f"version {version}, this release needs {SCHEMA_VERSION}", "problem",
            "run  holdfast migrate" if version < SCHEMA_VERSION else "upgrade the package here",
        ),
        Fact("origin", "the server that the tables were made on")
        if same_server
        else Fact(
            "origin", "a restored or copied store: its cursors belong to another server", "problem",
            "stop all that publishes and works there, and run  holdfast migrate --after-restore",
        ),
        Fact("row security", "off for this role")
        if not row_security
        else Fact("row security", "hides events from this role", "problem", "alter role ... bypassrls, or add a policy"),
        Fact("permissions", "complete for a worker")
        if not missing
        else Fact("permissions", f"missing: {', '.join(missing)}", "problem", grant),
        Fact("partitions ahead", counted(days_ahead, "day"))
        if days_ahead is not None and days_ahead >= _DAYS_AHEAD_MIN
        else Fact(
            "partitions ahead", counted(days_ahead or 0, "day"), "problem",
            "start a worker, which makes them, or run  holdfast migrate",
        ),
        Fact("default partition", "empty")
        if not in_default
        else Fact(
            "default partition", f"{'at least ' if in_default == 1000 else ''}{counted(in_default, 'event')}", "note",
            "they came when no partition of their day was there; keep a worker running. Do not move them",
        ),
        Fact("stored snapshots", "none from the future")
        if not future
        else Fact("stored snapshots", f"{future} from the future", "note", "the clock stepped back; workers delete them"),
        Fact("size", f"log {sized(log_bytes)}, deliveries {sized(deliveries_bytes)}"),
    ]  # fmt: skip
