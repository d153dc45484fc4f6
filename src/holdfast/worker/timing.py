"""How long handlers take, and how long after the publish they begin: counted for many at once, by clocks read anyway."""

from __future__ import annotations

from operator import sub
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.counts import SubscriptionCounts
    from holdfast.ports import Ports
    from holdfast.tracing import SubscriptionTracing
    from holdfast.worker.hand import InHand

_MICROS = 1e-6


class Timing:
    """Counts the times of one subscription's handler."""

    def __init__(self, counts: SubscriptionCounts, ports: Ports, tracing: SubscriptionTracing | None) -> None:
        self._counts, self._ports, self._tracing = counts, ports, tracing

    def one_by_one(self, items: Sequence[InHand], starts: Sequence[float]) -> None:
        """
        Handlers ran one after the other, without waiting: each until the next one began, the last one until now.

        So what the worker does between two of them counts too: a microsecond or a few.
        """
        if len(items) == 1:
            self.together(items, starts[0])
            return
        ended = self._ports.elapsed()
        self._counts.durations.add_all(list(map(sub, (*starts[1:], ended), starts)))
        zero = self._ports.wall_micros() * _MICROS - ended
        self._counts.latencies.add_all(
            [zero + at - item.row.occurred_at * _MICROS for item, at in zip(items, starts, strict=True)]
        )
        self._handled(items, ended - starts[0])

    def together(self, items: Sequence[InHand], started: float) -> None:
        """One call of the handler, for one event or a batch, has returned just now."""
        seconds = self._ports.elapsed() - started
        self._counts.durations.add(seconds)
        began = self._ports.wall_micros() * _MICROS - seconds
        for item in items:
            if item.due is None:  # a retry or a replay begins late because somebody wants it to
                self._counts.latencies.add(began - item.row.occurred_at * _MICROS)
        self._handled(items, seconds)

    def failed(self, items: Sequence[InHand], seconds: float, error: BaseException) -> None:
        """A call of the handler has raised *error*, so many seconds after it began."""
        self._counts.durations.add(seconds)
        if self._tracing is not None:
            self._tracing.failed([item.row for item in items], seconds, error)

    def _handled(self, items: Sequence[InHand], seconds: float) -> None:
        if self._tracing is not None:
            self._tracing.handled([item.row for item in items], seconds)
