"""How many unsettled delivery rows a claim looks at, from the lowest id on. Pure."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST_PREFIX = 2_000
_GROWTH = 8


def prefixes() -> Iterator[int]:
    """Few at first; more only where few of those may run, because they stand behind a key or wait for their time."""
    return (FIRST_PREFIX * _GROWTH**number for number in count())
