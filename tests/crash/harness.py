"""Processes to hurt, a ledger to believe, and what the tables say. Shared by the tests of this folder."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter, defaultdict
from contextlib import closing, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from holdfast.stores import make_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"
LONG = os.environ.get("HOLDFAST_LONG") == "1"
LEASE_TTL = 1.5
READY = "ready for signals"


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
    """Poll until *condition* gives something true, and return that."""
    deadline = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        assert time.monotonic() < deadline, f"after {seconds:g} s still not: {what}"
        time.sleep(0.02)


class Child:
    """One process. Whatever it says goes to a file, of which the end is shown when a test fails."""

    def __init__(self, program: str, settings: dict[str, Any], log: Path) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(PROGRAMS / f"{program}.py"), json.dumps(settings)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
            )  # fmt: skip
        self.killed_at: float | None = None

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    @property
    def has_taken_over(self) -> bool:
        """Whether it is through with all that a worker before it, which vanished, may have had in hand."""
        waiting = set[str]()
        for found in re.finditer(r"subscription (\S+): (its worker vanished|what its lost worker)", self.text()):
            (waiting.add if found[2] == "its worker vanished" else waiting.discard)(found[1])
        return not waiting

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> None:
        """SIGSTOP; returns when its last thread has stopped, which the signal alone does not wait for."""
        self.send(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    def kill(self) -> None:
        """SIGKILL, as a lost machine; returns when it is gone."""
        self.killed_at = time.monotonic()  # from here on it can do nothing more, though it may take a moment to go
        self.process.kill()
        self.process.wait(10)

    def terminate(self, seconds: float = 30.0) -> int:
        """SIGTERM, once it listens to that; returns the exit code."""
        wait_until(lambda: READY in self.text() or not self.is_running, "the process is ready")
        self.process.terminate()
        return self.process.wait(seconds)

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def peak_mib(self) -> float:
        """The most memory that it has held so far."""
        return self._mib("VmHWM")

    @property
    def reserved_mib(self) -> float:
        """The addresses that it has taken, with memory behind them or not: what RLIMIT_AS limits."""
        return self._mib("VmSize")

    def _mib(self, name: str) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / 1024
        raise AssertionError(f"the kernel does not tell {name} of a process")


class Bench:
    """A store, a ledger, and the processes of one test."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self.dsn, self.folder = dsn, folder
        self.ledger, self.acknowledged = folder / "ledger.jsonl", folder / "acknowledged.jsonl"
        self.children: list[Child] = []
        self.is_sqlite = dsn.startswith("sqlite")

    def close(self, *, failed: bool) -> None:
        """End what still runs. In a failed test, say what there is to see; else no worker may have complained."""
        if failed:
            self._report()
        for child in self.children:
            if child.is_running:
                child.send(signal.SIGCONT)
                child.process.kill()
            child.process.wait(10)
        if not failed:
            for child in self.children:
                assert "CRITICAL" not in child.text(), f"{child.log.name}:\n{child.text()[-5000:]}"

    def _report(self) -> None:
        """What somebody who looks for the reason of a failure wants to see first."""
        for child in self.children:
            print(f"---- {child.log.name}, pid {child.pid}\n{child.text()[-3000:]}")
        with suppress(psycopg.Error, sqlite3.Error):
            for sql in (
                "select * from {h}leases order by 1, 2", "select id, pid from {h}workers", "select * from {h}cursors",
                "select subscription, partition, state, attempts, count(*), min(id) from {h}deliveries group by 1, 2, 3, 4",
                "select consumer_name, count(*) from {h}event_consumers group by 1", "select count(*) from {h}event_log",
            ):  # fmt: skip
                print("----", sql, *self.run(sql), sep="\n")
            if not self.is_sqlite:
                print(*self.run("select application_name, state, wait_event, age(clock_timestamp(), xact_start), left(query, 100) "
                    "from pg_stat_activity where datname = current_database()"), sep="\n")  # fmt: skip

    # Processes

    def work(self, subscriptions: dict[str, dict[str, Any]], **settings: Any) -> Child:
        """Start a worker; see programs/work.py for what a subscription may say."""
        settings = {"lease_ttl": LEASE_TTL, "stop_timeout": 10} | settings
        return self._start("work", {"ledger": str(self.ledger), "subscriptions": subscriptions} | settings)

    def publish(self, **settings: Any) -> Child:
        """Start a publisher; see programs/publish.py."""
        settings = {"keys": 20, "spool": str(self.folder / "spool"), "store_timeout": 1.0} | settings
        return self._start("publish", {"ledger": str(self.acknowledged)} | settings)

    def command(self, *words: str) -> str:
        """Run a command of ``holdfast`` on the store; returns what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "holdfast", *words], capture_output=True, text=True, check=False, cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "HOLDFAST_DSN": self.dsn},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _start(self, program: str, settings: dict[str, Any]) -> Child:
        log = self.folder / f"{len(self.children):02}-{program}.log"
        child = Child(program, {"dsn": self.dsn} | settings, log)
        self.children.append(child)
        return child

    # The truth

    def lines(self, what: str | None = None, subscription: str | None = None) -> list[dict[str, Any]]:
        """The workers' ledger."""
        found = complete_lines(self.ledger)
        return [
            line for line in found
            if what in (None, line["what"]) and subscription in (None, line["subscription"])
        ]  # fmt: skip

    def times(self, what: str, subscription: str | None = None) -> Counter[int]:
        """How often each number is in the ledger."""
        return Counter(line["n"] for line in self.lines(what, subscription))

    def acknowledgements(self) -> list[dict[str, Any]]:
        """The publishers' ledger: what publish returned."""
        return complete_lines(self.acknowledged)

    def published(self) -> set[str]:
        """Ids that publish has acknowledged."""
        return {line["id"] for line in self.acknowledgements()}

    def run(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of one statement, outside of Holdfast. ``{h}`` stands before its tables."""
        sql = sql.format(h="" if self.is_sqlite else "holdfast.")
        if self.is_sqlite:
            with closing(sqlite3.connect(self.dsn.removeprefix("sqlite:///"), timeout=20)) as connection, connection:
                return connection.execute(sql, parameters).fetchall()
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(sql.replace("?", "%s"), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def one(self, sql: str, *parameters: Any) -> Any:
        return self.run(sql, *parameters)[0][0]

    def prepare(self) -> None:
        """Make the tables: Holdfast's, and the one that transactional handlers write to."""
        asyncio.run(migrate(self.dsn))
        number = "integer primary key" if self.is_sqlite else "bigint generated always as identity primary key"
        # No constraint: a second effect shall be found, not prevented.
        self.run(
            f"create table effects (id {number}, subscription text, event_id text, event_key text, n integer, pid integer)"
        )

    def store(self, numbers: Iterable[int], *, key: str | None = None, keys: int = 0) -> None:
        """Store numbered events by plain SQL, in order: of one key, spread over so many keys, or of none."""
        rows = [(key or (f"key-{number % keys}" if keys else None), json.dumps({"n": number})) for number in numbers]
        if self.is_sqlite:
            with closing(sqlite3.connect(self.dsn.removeprefix("sqlite:///"), timeout=20)) as connection, connection:
                connection.executemany(
                    "insert into event_store (event_name, event_key, payload) values ('load.event', ?, ?)", rows
                )
            return
        with psycopg.connect(self.dsn) as connection, connection.cursor() as cursor:
            cursor.executemany(
                "insert into holdfast.event_store (event_name, event_key, payload) values ('load.event', %s, %s)", rows
            )

    def receipts(self, subscription: str) -> Counter[str]:
        found = self.run("select event_id from {h}event_consumers where consumer_name = ?", subscription)
        return Counter(str(event_id) for (event_id,) in found)

    def receipt_count(self, subscription: str) -> int:
        return int(self.one("select count(*) from {h}event_consumers where consumer_name = ?", subscription))

    def deliveries(self, state: str | None = None) -> list[tuple[str, int]]:
        """(event id, attempts) of delivery rows."""
        found = self.run("select event_id, attempts, state from {h}deliveries order by id")
        return [(str(event_id), attempts) for event_id, attempts, its in found if state in (None, its)]

    def leases(self) -> list[tuple[str | None, bool, int]]:
        """(owner, clean, crashes) of each."""
        found = self.run("select owner, clean, crashes from {h}leases order by subscription, partition")
        return [(None if owner is None else str(owner), bool(clean), crashes) for owner, clean, crashes in found]

    def shares(self) -> list[int]:
        """How many partitions each owner has, smallest first."""
        return sorted(Counter(owner for owner, _, _ in self.leases() if owner is not None).values())

    def unsettled(self) -> int:
        """What the public view calls neither processed nor dead."""
        return int(self.one("select count(*) from {h}event_store where status not in ('processed', 'dead')"))

    def completed(self, subscription: str) -> set[str]:
        """Ids of events whose handler came to its end, by the ledger."""
        return {line["id"] for line in self.lines("done", subscription)}

    def effects(self, subscription: str) -> Counter[str]:
        found = self.run("select event_id from effects where subscription = ?", subscription)
        return Counter(event_id for (event_id,) in found)


def complete_lines(path: Path) -> list[dict[str, Any]]:
    """What is written: a kill cuts no line off, each being one write, but one may be under way just now."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


async def migrate(dsn: str) -> None:
    store = make_store(dsn, schema="holdfast", timeout=10, handler_connections=1)
    await store.migrate()
    await store.close()


@contextmanager
def write_lock(bench: Bench) -> Iterator[None]:
    """On SQLite, nobody else is inside of a write meanwhile: who is stopped in one keeps the whole file locked."""
    if not bench.is_sqlite:
        yield
        return
    with closing(sqlite3.connect(bench.dsn.removeprefix("sqlite:///"), timeout=20)) as connection:
        connection.execute("begin immediate")
        yield
        connection.rollback()


# ---- judging


def first_completions_in_order(lines: list[dict[str, Any]]) -> None:
    """Per key, the first completion of each number comes after that of the number before."""
    first: dict[str, list[int]] = defaultdict(list)
    seen: set[tuple[str, int]] = set()
    for line in lines:
        place = line["key"], line["n"]
        if line["what"] == "done" and place not in seen:
            seen.add(place)
            first[line["key"]].append(line["n"])
    for key, numbers in first.items():
        assert numbers == sorted(numbers), f"{key} was completed in the order {numbers}"


def no_overlap(lines: list[dict[str, Any]], died: dict[int, float]) -> None:
    """No two handlers of one key ran at the same time. One that was killed ran until then (*died*: time by pid)."""
    spans: dict[str, list[tuple[float, float, int, int]]] = defaultdict(list)
    open_spans: dict[tuple[str, int, int], float] = {}
    for line in lines:
        place = line["key"], line["n"], line["pid"]
        if line["what"] == "start":
            open_spans[place] = line["at"]
        elif line["what"] == "done":
            spans[line["key"]].append((open_spans.pop(place), line["at"], line["n"], line["pid"]))
    for (key, number, pid), began in open_spans.items():
        if pid in died:
            spans[key].append((began, died[pid], number, pid))
    for key, found in spans.items():
        for before, after in pairwise(sorted(found)):
            assert before[1] <= after[0], f"{key}: {before} and {after} (from, to, number, pid) ran at the same time"


def repeats_only_after_kills(
    lines: list[dict[str, Any]], died: dict[int, float], *, window: float
) -> tuple[int, dict[int, int]]:
    """
    Every completion that was followed by another of the same event was by a process that was killed at most *window*
    seconds later: one flush of receipts. Returns the number of repeats, and of them by killed process.
    """
    by_event: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        if line["what"] == "done":
            by_event[line["id"]].append(line)
    per_kill: Counter[int] = Counter()
    for found in by_event.values():
        for line in found[:-1]:
            assert line["pid"] in died, f"repeated, and nobody was killed: {found}"
            left = died[line["pid"]] - line["at"]
            assert left <= window, f"completed {left:.3f} s before the kill and repeated all the same: {found}"
            per_kill[line["pid"]] += 1
    return sum(per_kill.values()), dict(per_kill)
