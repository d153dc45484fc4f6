"""Ids of events: UUIDs of version 7, which begin with the time and so sort by it.

The layout is that of RFC 9562, section 5.7: 48 bits of Unix milliseconds, 4 of version, 12 (``rand_a``), 2 of
variant, 62 (``rand_b``). ``rand_a`` is used as a counter (section 6.2, method 1), ``rand_b`` is random in each id.

Python 3.14 brings a ``uuid7`` of its own. It is not used: it reads clock and randomness by itself, so that a
simulation could not replay it, and one way of making ids on all versions is easier to trust than two.
"""

from __future__ import annotations

import os
import time
from datetime import date, timedelta
from threading import Lock
from typing import TYPE_CHECKING
from uuid import UUID
from weakref import WeakMethod

if TYPE_CHECKING:
    from collections.abc import Callable

RANDOM_BYTES = 10
"""Bytes of randomness that one id takes."""

_DRAWN_AT_ONCE = 64  # a call of the system for each id would be a third of what it costs
_MILLIS_MAX = 2**48 - 1
_MILLIS_PER_DAY = 86_400_000
_NANOS_PER_MILLI = 1_000_000
_FORM = 0xF << 76 | 0b11 << 62  # version and variant
_FORM_OF_7 = 7 << 76 | 0b10 << 62
_UNIX_EPOCH = date(1970, 1, 1)


def uuid7(millis: int, random_bytes: bytes) -> UUID:
    """The UUIDv7 of these inputs; the same inputs give the same id.

    Args:
        millis: Milliseconds since 1970-01-01 UTC, 0 to 2**48 - 1.
        random_bytes: 10 bytes, of which 74 bits are used.

    Raises:
        ValueError: An input is out of its range.
    """
    if len(random_bytes) != RANDOM_BYTES:
        raise ValueError(f"a UUIDv7 takes {RANDOM_BYTES} random bytes, not {len(random_bytes)}")
    random = int.from_bytes(random_bytes)
    return _assemble(millis, random >> 68, random)


def text_of(raw: bytes) -> str:
    """A UUID's 16 bytes in its usual form, as ``str(UUID(bytes=raw))`` has it; cheaper, as no UUID is made."""
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def is_uuid7(event_id: UUID) -> bool:
    """Whether *event_id* is of version 7 (and of the RFC's variant), so that it tells its time."""
    return event_id.int & _FORM == _FORM_OF_7


def day_of(event_id: UUID) -> date | None:
    """The UTC day in which a UUIDv7 was made; None for other versions, and after the year 9999."""
    if not is_uuid7(event_id):
        return None
    days = (event_id.int >> 80) // _MILLIS_PER_DAY
    try:
        return _UNIX_EPOCH + timedelta(days=days)
    except OverflowError:
        return None


class IdFactory:
    """Makes UUIDv7 ids that sort in the order of the calls, from any thread, whatever the clock does.

    In one millisecond, and while the clock is behind an id already made, a counter goes on; when its 4096 values
    are used up the id takes the next millisecond. Random bits are fresh in each id, so a forked child, which goes on
    with its parent's counter, repeats none.

    Args:
        clock: Nanoseconds since 1970-01-01 UTC.
        random: Gives that many random bytes.

    Cost: arithmetic and a lock; one call of *random* for 64 ids.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns, random: Callable[[int], bytes] = os.urandom) -> None:
        self._clock, self._random = clock, random
        self._stamp = -1  # milliseconds << 12 | counter of the latest id
        self._begin()
        renew = WeakMethod(self._begin)
        os.register_at_fork(after_in_child=lambda: (method := renew()) and method())

    def __call__(self) -> UUID:
        """The next id."""
        now = (self._clock() // _NANOS_PER_MILLI) << 12
        with self._lock:
            if not self._drawn:
                self._draw()
            random = self._drawn.pop()
            # The counter starts in its lower half, at random, which leaves at least 2048 ids to the millisecond.
            self._stamp = stamp = max(now | random >> 69, self._stamp + 1)
        return _assemble(stamp >> 12, stamp, random)

    def _draw(self) -> None:
        drawn = self._random(_DRAWN_AT_ONCE * RANDOM_BYTES)
        self._drawn = [int.from_bytes(drawn[at : at + RANDOM_BYTES]) for at in range(0, len(drawn), RANDOM_BYTES)]

    def _begin(self) -> None:
        # In a forked child: another thread may have held the lock at the fork, and nobody would release it; and what
        # the parent has drawn is the parent's.
        self._lock, self._drawn = Lock(), list[int]()


def _assemble(millis: int, rand_a: int, rand_b: int) -> UUID:
    """A UUIDv7 from its fields; of the last two only the low 12 and 62 bits count."""
    if not 0 <= millis <= _MILLIS_MAX:
        raise ValueError(f"{millis} ms is outside of 0 to 2**48 - 1")
    return UUID(int=millis << 80 | (rand_a & 0xFFF) << 64 | _FORM_OF_7 | rand_b & (1 << 62) - 1)


new_id = IdFactory()
"""The next id of this process, from the system's clock and randomness."""
