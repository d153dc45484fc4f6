"""What a PostgreSQL snapshot shows, as text: ``xmin:xmax:xip,xip``."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple


class Snapshot(NamedTuple):
    """Everything below ``xmin`` is shown, nothing from ``xmax`` on, and in between all but ``running``."""

    xmin: int
    xmax: int
    running: tuple[int, ...]

    def shows(self, txid: int) -> bool:
        return txid < self.xmin or (txid < self.xmax and txid not in self.running)

    def __str__(self) -> str:
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, self.running))}"


NOTHING = "1:1:"


@lru_cache(maxsize=4096)
def snapshot(text: str) -> Snapshot:
    xmin, xmax, running = text.split(":")
    return Snapshot(int(xmin), int(xmax), tuple(map(int, running.split(","))) if running else ())
