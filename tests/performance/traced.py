"""What SQLite says that it runs: each connection tells when a statement begins (``sqlite3_trace``)."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any

from tests.performance.named import Sent, namer

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

_LISTENING = "data_version"
_FIRES_A_TRIGGER = "insert into event_log"


class Trace:
    """
    The statements of every connection that is opened while it is in place, in the order in which they began.

    The listener's look at ``data_version`` is left out: it neither reads nor locks anything, and comes by the clock.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._name, self._connect = namer("sqlite", None), sqlite3.connect
        self._seen: list[tuple[str, float]] = []
        monkeypatch.setattr(sqlite3, "connect", self._traced)

    def _traced(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = self._connect(*arguments, **options)
        connection.set_trace_callback(lambda text: self._seen.append((text, time.monotonic())))
        return connection

    def clear(self) -> None:
        """Forget what began so far."""
        self._seen.clear()

    def read(self) -> list[Sent]:
        """What began since `clear`."""
        return list(self._read())

    def _read(self) -> Iterator[Sent]:
        before = ""
        for text, moment in self._seen.copy():
            repeats = text == before and _FIRES_A_TRIGGER in text  # so the trace says that the trigger begins
            if _LISTENING not in text and not repeats:
                yield Sent(self._name(text), moment, "")
            before = text

    def names(self) -> list[str]:
        return [sent.name for sent in self.read()]
