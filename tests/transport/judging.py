"""What became of events, by what services have booked in their own databases."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg

from tests.bus.waiting import program_environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PROGRAM = Path(__file__).parent / "programs" / "service.py"


class Verdict(NamedTuple):
    """Of one service."""

    lost: int
    unknown: int
    repeated: int
    disorder: int


GOOD = Verdict(0, 0, 0, 0)


def booked(dsn: str) -> list[tuple[str, str, str | None, int]]:
    """Id, name, key and place of each effect, in their order."""
    with psycopg.connect(dsn) as connection:
        return connection.execute("select id::text, name, key, place from public.booked order by at").fetchall()


def count(dsn: str, query: str = "select count(*) from public.booked") -> int:
    with psycopg.connect(dsn, options="-c search_path=holdfast,public") as connection:
        return int(connection.execute(query).fetchone()[0])  # type: ignore[index]


def verdict(effects: Iterable[tuple[str, str, str | None, int]], wanted: Iterable[str]) -> Verdict:
    """
    Each of the *wanted* events has to have one effect; of one name and key the places go up, one by one.

    Of two names of one key, where the second is published by the handler of the first, the first comes first.
    """
    effects, ids = list(effects), set(wanted)
    seen = Counter(event_id for event_id, *_ in effects)
    newest: dict[tuple[str, str], int] = defaultdict(lambda: -1)
    disorder = 0
    for _, name, key, place in effects:
        if key is None:
            continue
        disorder += place <= newest[name, key]
        if name == "stock.reserved":
            disorder += place > newest["order.placed", key]  # an effect before its cause
        newest[name, key] = max(place, newest[name, key])
    return Verdict(
        len(ids - seen.keys()), len(seen.keys() - ids), sum(seen.values()) - len(seen), disorder
    )  # fmt: skip


class Worker:
    """A process that runs `programs/service.py`."""

    def __init__(self, log: Path, **settings: Any) -> None:
        self._log, self._settings = log, settings
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(PROGRAM), json.dumps(self._settings)], stdin=subprocess.DEVNULL, stdout=out,
                stderr=out, env=program_environment(),
            )  # fmt: skip

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def text(self) -> str:
        return self._log.read_text(errors="replace")


@contextmanager
def workers(folder: Path, *settings: dict[str, Any]) -> Iterator[list[Worker]]:
    """A process for each of *settings*; killed in the end."""
    made = [Worker(folder / f"{one['service']}-{number}.log", **one) for number, one in enumerate(settings)]
    try:
        yield made
    finally:
        for worker in made:
            worker.kill()
