"""A large backlog, drained by one worker process: how long it takes, and how much memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import buses
from apart import apart

if TYPE_CHECKING:
    from places import Place
    from workload import Numbers

PEAK_MIB_MAX = 300.0


def measure(place: Place, events: int) -> Numbers:
    """Drain *events* stored events in a fresh process."""
    with place.loaded(events, keep=False) as dsn:
        return apart(buses.drain, dsn, events)


def line(place: Place, events: int, numbers: Numbers) -> str:
    verdict = "met" if numbers["peak_mib"] <= PEAK_MIB_MAX else "NOT MET"
    return (
        f"{place.name}: backlog of {events:,} drained in {numbers['seconds']:.1f} s "
        f"({numbers['events_per_s']:,.0f} events/s), first handler after {numbers['start_ms']:.0f} ms, lost "
        f"{numbers['lost']:g}, repeated {numbers['repeated']:g}, peak memory {numbers['peak_mib']:.0f} MiB, "
        f"at most {PEAK_MIB_MAX:.0f} MiB: {verdict}"
    )
