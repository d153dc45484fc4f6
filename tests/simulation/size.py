"""How much happens in a run: many small ones find more, in the same time, than few large ones."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Size:
    """
    What bounds a run. Of each pair, the least and the most that a seed may draw.

    Attributes:
        lineages: Programs, each with one process at a time.
        publishes: Calls of publish, for each program.
        transactions: Of programs that know only SQL.
        subscriptions: Each of another kind.
        trouble: Virtual seconds for which things go wrong.
        pace: How many times faster than in a large run everybody publishes and blows fall.
        lease_ttls: Seconds, of which one is drawn.
        poll_intervals: The same.
        breaker_waits: The first and the longest wait of an open breaker, in seconds.
        outage: Virtual seconds for which the server is away at the end of the trouble, while everybody publishes on.
    """

    lineages: tuple[int, int]
    publishes: tuple[int, int]
    transactions: tuple[int, int]
    subscriptions: tuple[int, int]
    trouble: float
    pace: float
    lease_ttls: tuple[float, ...]
    poll_intervals: tuple[float, ...]
    breaker_waits: tuple[float, float]
    outage: float = 0.0


LARGE = Size((1, 3), (5, 25), (0, 12), (1, 3), 6.0, 1.0, (1.0, 2.0, 3.0), (0.15, 0.5, 1.0), (5.0, 60.0))
SMALL = Size((1, 2), (1, 4), (0, 2), (1, 2), 1.0, 6.0, (1.0, 2.0), (0.3, 1.0), (0.3, 1.2))
OUTAGE = replace(SMALL, outage=300.0)
SIZES = {"small": SMALL, "large": LARGE, "outage": OUTAGE}
