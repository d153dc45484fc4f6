"""The handlers' own record of what they handled, apart from anything that Holdfast writes.

One line for each call of a handler, appended to a plain file with O_APPEND: what a process wrote there stays written
when it is killed the moment after, and lines of several processes do not mix.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, NamedTuple
from uuid import UUID

from holdfast.demo.workload import digest

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast import Delivery, Event

Outcome = Literal["handled", "failed"]


class Line(NamedTuple):
    """One call of a handler."""

    outcome: str
    event_id: UUID
    name: str
    subscription: str
    attempt: int
    sequence: int
    digest: str
    pid: int


class LedgerWriter:
    """Writes lines; for the handlers of one process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, outcome: Outcome, event: Event, delivery: Delivery) -> None:
        """Append one line; it is in the file when this returns."""
        line = (
            outcome, event.id, event.name, delivery.subscription, delivery.attempt,
            event.headers.get("sequence", "0"), digest(event.payload), os.getpid(),
        )  # fmt: skip
        os.write(self._file, ("\t".join(map(str, line)) + "\n").encode())


class LedgerReader:
    """Follows a ledger while it is written.

    Attributes:
        lines: Every line so far, in the order of the file.
        handled: (event, subscription) of everything handled at least once.
        pids: The processes that handled anything.
    """

    def __init__(self, path: Path) -> None:
        path.touch()
        self._file = path.open("rb")
        self._rest = b""
        self.lines: list[Line] = []
        self.handled: set[tuple[UUID, str]] = set()
        self.pids: set[int] = set()

    def poll(self) -> None:
        """Read what was appended since."""
        *complete, self._rest = (self._rest + self._file.read()).split(b"\n")
        for text in complete:
            line = parse(text.decode())
            self.lines.append(line)
            if line.outcome == "handled":
                self.handled.add((line.event_id, line.subscription))
                self.pids.add(line.pid)

    def close(self) -> None:
        self._file.close()


def parse(text: str) -> Line:
    """A line of the file, without its end."""
    outcome, event_id, name, subscription, attempt, sequence, content, pid = text.split("\t")
    return Line(outcome, UUID(event_id), name, subscription, int(attempt), int(sequence), content, int(pid))
