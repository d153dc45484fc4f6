"""A large backlog, drained by one worker process: how long it takes, and how much memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.bench import draining
from holdfast.bench.apart import apart

if TYPE_CHECKING:
    from holdfast.bench.places import Place
    from holdfast.bench.workload import Numbers

PEAK_MIB_MAX = 300.0


def measure(place: Place, events: int) -> Numbers:
    """Drain *events* stored events in a fresh process."""
    with place.loaded(events, keep=False) as dsn:
        return apart(draining.drain, dsn, events)


def is_fine(numbers: Numbers) -> bool:
    """Nothing was lost, nothing repeated, and the memory kept within its bound."""
    return not numbers["lost"] and not numbers["repeated"] and numbers["peak_mib"] <= PEAK_MIB_MAX


def line(store: str, events: int, numbers: Numbers) -> str:
    """The outcome as a sentence."""
    verdict = "met" if numbers["peak_mib"] <= PEAK_MIB_MAX else "NOT MET"
    return (
        f"{store}: backlog of {events:,} drained in {numbers['seconds']:.1f} s "
        f"({numbers['events_per_s']:,.0f} events/s), first handler after {numbers['start_ms']:.0f} ms, lost "
        f"{numbers['lost']:g}, repeated {numbers['repeated']:g}, peak memory {numbers['peak_mib']:.0f} MiB, "
        f"at most {PEAK_MIB_MAX:.0f} MiB: {verdict}"
    )
