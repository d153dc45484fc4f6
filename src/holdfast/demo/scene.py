"""One scenario while it is played: the publisher, its workers, and what can be waited for."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager
from itertools import islice
from typing import TYPE_CHECKING

from holdfast import EventBus
from holdfast.demo.audit import Findings, audit
from holdfast.demo.ledger import LedgerReader
from holdfast.demo.processes import Child, worker
from holdfast.demo.worker import STORE_TIMEOUT
from holdfast.demo.workload import DEAD_LETTER, Item, Manifest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from pathlib import Path

    from holdfast.demo.report import Screen
    from holdfast.demo.stages import Stage

BURST, BURST_PAUSE = 25, 0.02
"""The shops' pace: so many events at once, then a breath (seconds)."""

PATIENCE = 20.0
"""Seconds without any progress after which the demo stops waiting, and counts what is missing."""

_LOOK, _LOOK_IN_STORE = 0.01, 0.05


class GaveUpWaiting(Exception):
    """Nothing moved for `PATIENCE` seconds."""


class Scene:
    """What a scenario has at hand.

    Args:
        name: Of the database and of the files in *folder*.
        items: What is to be published.
        stage: Where.
        screen: Tells the spectators.
    """

    def __init__(self, name: str, items: Sequence[Item], stage: Stage, screen: Screen, folder: Path) -> None:
        self.items, self.stage = items, stage
        self.manifest = Manifest()
        self.where: Counter[str] = Counter()
        self.problems: list[str] = []
        self._screen, self._ledger_path = screen, folder / f"{name}.ledger"
        self._log = folder / f"{name}.log"
        self.ledger = LedgerReader(self._ledger_path)
        self._dsn = stage.make_database(name)
        self._bus = EventBus(self._dsn, auto_migrate=True, spool=folder / "spool", store_timeout=STORE_TIMEOUT)
        self._workers: list[Child] = []
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the scenario began."""
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        self._screen.say(f"{self.seconds:6.2f} s  {text}")

    # What a scenario does

    def start_worker(self) -> Child:
        child = worker(self._dsn, self._ledger_path, self._log)
        self._workers.append(child)
        self.say(f"worker {child.pid} starts")
        return child

    def kill_worker(self, child: Child) -> None:
        """SIGKILL."""
        self._workers.remove(child)
        child.kill()

    async def publish(self, items: Iterable[Item]) -> None:
        """Publish at the shops' pace; returns when each publish has."""
        source = iter(items)
        while burst := list(islice(source, BURST)):
            await asyncio.gather(*(self._publish(item) for item in burst))
            self._look()
            await asyncio.sleep(BURST_PAUSE)

    async def _publish(self, item: Item) -> None:
        sent = self.manifest.prepare(item)
        headers = {"sequence": str(sent.sequence), "fails": str(item.fails)}
        published = await self._bus.publish(
            item.name, item.payload, tenant_id=item.tenant_id, key=item.key, event_id=item.event_id, headers=headers
        )
        self.manifest.sent[published.event_id] = sent
        self.where[published.where] += 1

    @asynccontextmanager
    async def store_away(self) -> AsyncIterator[None]:
        """The database cannot be used inside this block."""
        self.say(f"the database goes away: {self.stage.loss}")
        self.stage.take_away()
        try:
            yield
        finally:
            self.stage.bring_back()
        self.say("the database is back")

    async def until(self, condition: Callable[[], object], what: str, *, every: float = _LOOK) -> None:
        """Wait for *condition*, looking at the ledger again *every* so many seconds.

        Raises:
            GaveUpWaiting: No handler was called for `PATIENCE` seconds, or a worker ended by itself.
        """
        seen, since = -1, time.monotonic()
        while not condition():
            if dead := [child.pid for child in self._workers if not child.runs]:
                raise GaveUpWaiting(f"worker {dead[0]} ended by itself while {what} was awaited: {self._last_words()}")
            if len(self.ledger.lines) != seen:
                seen, since = len(self.ledger.lines), time.monotonic()
            elif time.monotonic() - since > PATIENCE:
                raise GaveUpWaiting(f"nothing was handled for {PATIENCE:g} s, {what} was awaited")
            await asyncio.sleep(every)
            self._look()

    async def until_settled(self) -> None:
        """Wait until everything sent is handled or dead, and the store says the same."""
        expected, doomed = self.manifest.expected, self.manifest.doomed
        await self.until(lambda: expected <= self.ledger.handled, "the handling of all events")

        def is_settled() -> bool:
            with self.stage.read() as reading:
                books = reading.books()
            letters = {line.event_id for line in self.ledger.lines if line.name == DEAD_LETTER}
            receipts = expected | {(event_id, "archive") for event_id in letters}
            return receipts <= books.receipts.keys() and doomed <= books.dead and len(letters) >= len(doomed)

        await self.until(is_settled, "the last receipt", every=_LOOK_IN_STORE)

    async def until_shared(self, workers: int) -> None:
        """Wait until so many workers hold partitions."""

        def is_shared() -> bool:
            with self.stage.read() as reading:
                return reading.owners() == workers

        await self.until(is_shared, f"a share for each of {workers} workers", every=_LOOK_IN_STORE)

    def require(self, condition: object, problem: str) -> None:
        """What must have happened for the scenario to show anything."""
        if not condition:
            self.problems.append(problem)

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        return lines[-1] if lines else "it left no message"

    def _look(self) -> None:
        self.ledger.poll()
        self._screen.progress(len(self.manifest.sent), len(self.items), len(self.ledger.handled))

    # Its end

    async def close(self) -> Findings:
        """Stop the workers and audit."""
        for child in self._workers:
            code = child.stop()
            self.require(code == 0, f"worker {child.pid} ended with code {code}: {self._last_words()}")
        await self._bus.close()
        self._look()
        with self.stage.read() as reading:
            findings = audit(self.manifest, self.ledger.lines, reading.books())
        findings.problems += self.problems
        return findings

    async def abandon(self) -> None:
        """Leave nothing running; does nothing that `close` has done."""
        for child in self._workers:
            child.kill()
        await self._bus.close()
        self.ledger.close()
