"""A workload of writers that commit late, roll back, wait for each other and take their transaction ids early."""

from __future__ import annotations

import json
import random
import threading
from contextlib import suppress
from typing import Self
from uuid import uuid4

import psycopg

KEYS = 8


class Writers:
    """
    Threads that publish by plain SQL in every awkward way. Each key has a lock and a counter, so the order in which
    its events commit is known: ``n`` grows by one.

    Attributes:
        committed: {"key:n": committed for sure}; what rolled back is in ``undone``.
    """

    def __init__(self, dsn: str, *, threads: int, seed: int) -> None:
        self.dsn, self.seed = dsn, seed
        self.committed: set[str] = set()
        self.undone: set[str] = set()
        self.errors: list[BaseException] = []
        self._next = 0
        self._counters = dict.fromkeys(range(KEYS), 0)
        self._locks = {key: threading.Lock() for key in range(KEYS)}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(threads)]

    def __enter__(self) -> Self:
        with psycopg.connect(self.dsn) as connection:
            connection.execute("create table if not exists rows_to_lock as select n from generate_series(1, 4) as n")
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        chance = random.Random(self.seed * 1000 + number)
        try:
            with psycopg.connect(self.dsn, autocommit=True) as connection:
                ways = [
                    self._plain, self._early_id, self._rolled_back, self._savepoint, self._two_phase, self._row_lock,
                    self._copy, self._in_order,
                ]  # fmt: skip
                while not self._stop.is_set():
                    chance.choice(ways)(connection, chance)
        except BaseException as error:
            self.errors.append(error)

    def _insert(self, connection: psycopg.Connection, tag: str, key: str | None = None) -> None:
        connection.execute(
            "insert into holdfast.event_store (tenant_id, event_name, event_key, payload) values ('t', 'e', %s, %s)",
            [key, json.dumps(tag)],
        )

    def _tag(self) -> str:
        return uuid4().hex

    def _pause(self, chance: random.Random) -> None:
        self._stop.wait(chance.random() * 0.01)

    def _commit(self, tags: list[str]) -> None:
        self.committed.update(tags)

    def _plain(self, connection: psycopg.Connection, chance: random.Random) -> None:
        tag = self._tag()
        self._insert(connection, tag)
        self._commit([tag])

    def _early_id(self, connection: psycopg.Connection, chance: random.Random) -> None:
        tag = self._tag()
        with connection.transaction():
            connection.execute("select pg_current_xact_id()")
            self._pause(chance)
            self._insert(connection, tag)
            self._pause(chance)
        self._commit([tag])

    def _rolled_back(self, connection: psycopg.Connection, chance: random.Random) -> None:
        tag = self._tag()
        with connection.transaction(force_rollback=True):
            self._insert(connection, tag)
            self._pause(chance)
        self.undone.add(tag)

    def _savepoint(self, connection: psycopg.Connection, chance: random.Random) -> None:
        kept, undone, late = self._tag(), self._tag(), self._tag()
        with connection.transaction():
            with connection.transaction():
                self._insert(connection, kept)
            with connection.transaction(force_rollback=True):
                self._insert(connection, undone)
            self._pause(chance)
            with connection.transaction():
                self._insert(connection, late)
        self._commit([kept, late])
        self.undone.add(undone)

    def _two_phase(self, connection: psycopg.Connection, chance: random.Random) -> None:
        tag, name = self._tag(), uuid4().hex
        connection.execute("begin")
        self._insert(connection, tag)
        with suppress(psycopg.errors.ConfigurationLimitExceeded):
            connection.execute(f"prepare transaction '{name}'")
            self._pause(chance)
            connection.execute(f"commit prepared '{name}'")
            self._commit([tag])
            return
        connection.execute("rollback")
        self.undone.add(tag)

    def _row_lock(self, connection: psycopg.Connection, chance: random.Random) -> None:
        tag = self._tag()
        with connection.transaction():
            self._insert(connection, tag)
            connection.execute("select from rows_to_lock where n = %s for update", [chance.randint(1, 4)])
            self._pause(chance)
        self._commit([tag])

    def _copy(self, connection: psycopg.Connection, chance: random.Random) -> None:
        tags = [self._tag() for _ in range(3)]
        with connection.transaction(), connection.cursor() as cursor:
            with cursor.copy("copy holdfast.event_log (tenant_id, event_name, payload) from stdin") as copy:
                for tag in tags:
                    copy.write_row(("t", "e", json.dumps(tag)))
            self._pause(chance)
        self._commit(tags)

    def _in_order(self, connection: psycopg.Connection, chance: random.Random) -> None:
        """Events of one key in the order of its counter; each commits before the next begins its own."""
        key = chance.randrange(KEYS)
        with self._locks[key]:
            tag = f"{key}:{self._counters[key]}"
            with connection.transaction():
                connection.execute("select pg_current_xact_id()")
                self._insert(connection, tag, str(key))
            self._counters[key] += 1
            self._commit([tag])


class NaiveCursor:
    """The reader that so many programs have: everything above the highest position it has seen."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection, self._last = connection, 0
        self.seen: set[str] = set()

    def read(self) -> None:
        found = self._connection.execute(
            "select position, payload from holdfast.event_log where position > %s order by position", [self._last]
        ).fetchall()
        for position, tag in found:
            self._last = position
            self.seen.add(tag)
