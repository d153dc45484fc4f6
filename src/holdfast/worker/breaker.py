"""A breaker for one subscription: after many different events failed in a row, stop and probe. Pure."""

from __future__ import annotations

from enum import Enum

WAITS = (5.0, 60.0)
"""Seconds until the first probe, and at most until a later one."""


class Breaker:
    """
    Trips after *threshold* different events failed with no success between; then lets single probes through.

    A probe that fails burns no attempt; the next one is another event where there is one, so that one that can never
    be handled does not keep it open. A probe that succeeds closes it. Waits double after each failed probe.

    Args:
        threshold: Events; None never trips.
        waits: Seconds until the first probe, and at most until a later one.
    """

    class State(Enum):
        CLOSED = "closed"
        OPEN = "open"
        PROBING = "probing"

    def __init__(self, threshold: int | None, waits: tuple[float, float] = WAITS) -> None:
        self._threshold = threshold
        self._first_wait, self._longest_wait = waits
        self._failed: set[bytes] = set()
        self._wait = self._first_wait
        self.state = Breaker.State.CLOSED
        self.is_closed = True
        self.until = 0.0

    def succeeded(self) -> bool:
        """Note a success; True if that closed the breaker."""
        if self._failed:
            self._failed.clear()
        if self.is_closed:
            return False
        self.state, self.is_closed, self._wait = Breaker.State.CLOSED, True, self._first_wait
        return True

    def failed(self, event_id: bytes, now: float) -> bool:
        """Note a failed attempt; True if that tripped the breaker."""
        if self._threshold is None or not self.is_closed:
            return False
        self._failed.add(event_id)
        if len(self._failed) < self._threshold:
            return False
        self.state, self.is_closed, self.until = Breaker.State.OPEN, False, now + self._wait
        self._failed.clear()
        return True

    def wants_probe(self, now: float) -> bool:
        """Whether it has waited long enough for one event to be tried."""
        return self.state is Breaker.State.OPEN and now >= self.until

    def probe(self) -> None:
        """One event is being tried."""
        self.state = Breaker.State.PROBING

    def probe_failed(self, now: float) -> float:
        """The probe failed: wait twice as long. Returns for how many seconds."""
        self._wait = min(self._wait * 2, self._longest_wait)
        self.state, self.until = Breaker.State.OPEN, now + self._wait
        return self._wait

    def probe_ended(self) -> None:
        """The probe is over, and said nothing for or against: the next one may come at once."""
        if self.state is Breaker.State.PROBING:
            self.state = Breaker.State.OPEN
