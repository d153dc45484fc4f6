"""What a PostgreSQL server says that it was sent: its own log, which no driver and no cleverness of ours gets past."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.performance.named import Sent, namer

if TYPE_CHECKING:
    from holdfast.testing import LocalPostgres

SETTINGS = {
    "log_statement": "all",
    "log_line_prefix": "%n|%d|%a|",
    "log_parameter_max_length": "0",
    "log_duration": "off",
    "full_page_writes": "off",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "autovacuum": "off",
}
_ENTRY = re.compile(r"(?P<time>[\d.]+)\|(?P<database>[^|]*)\|(?P<session>[^|]*)\|(?P<rest>.*)", re.DOTALL)
_STATEMENT = re.compile(r"LOG:  (?:statement|execute [^:]+): (?P<text>.*)", re.DOTALL)
_NEW_ENTRY = re.compile(r"\n(?!\t)")  # what continues an entry is indented


class ServerLog:
    """
    The statements of one database, in the order in which the server began them.

    The server writes a line before it executes, so whatever was answered is in the file.

    Args:
        server: Started with `SETTINGS`.
        database: The only one that is looked at.
    """

    def __init__(self, server: LocalPostgres, database: str) -> None:
        self._server, self._database = server, database
        self._name = namer("postgres", "holdfast")
        self._sent: list[Sent] = []
        self._place = server.log.stat().st_size

    def clear(self) -> None:
        """Forget what was sent so far."""
        self.read()
        self._sent.clear()

    def read(self) -> list[Sent]:
        """What was sent since `clear`."""
        with self._server.log.open("rb") as file:
            file.seek(self._place)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._place += len(whole)
        self._sent += filter(None, map(self._of, _NEW_ENTRY.split(whole.decode())))
        return list(self._sent)

    def names(self) -> list[str]:
        return [sent.name for sent in self.read()]

    def _of(self, line: str) -> Sent | None:
        entry = _ENTRY.fullmatch(line)
        if entry is None or entry["database"] != self._database:
            return None
        statement = _STATEMENT.fullmatch(entry["rest"])
        return statement and Sent(self._name(statement["text"]), float(entry["time"]), entry["session"])
