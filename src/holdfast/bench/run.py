"""All figures of the chosen stores, round by round.

Every round takes each measurement once, odd rounds in the opposite order, so that a machine that grows slower or
noisier harms all alike.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from holdfast.bench import backlog, places, report
from holdfast.bench.apart import apart
from holdfast.bench.figures import figures
from holdfast.bench.machine import machine
from holdfast.bench.workload import Numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holdfast.bench.figures import Figure, Scale
    from holdfast.bench.places import Chosen, Place

    Watch = Callable[[str], None]
    """Is told what is being measured; an empty text at the end."""


def measure(chosen: Chosen, scale: Scale, command: str, watch: Watch) -> report.Results:
    """
    Measure all figures.

    Args:
        chosen: The stores, and where.
        scale: How much.
        command: What the report says that was run.
        watch: Is told how far it is.
    """
    with places.opened(chosen) as (stores, folder):
        started, facts = time.monotonic(), machine(folder)
        found: dict[str, Any] = {store.name: _measure_store(store, scale, watch) for store in stores}
    settings = {
        "command": command, "events": scale.events, "rounds": scale.rounds,
        "seconds": round(time.monotonic() - started),
    }  # fmt: skip
    return _head(chosen, settings, facts) | {
        "stores": found, "bars": report.bars(found), "verdicts": report.verdicts(found), "fine": not report.flaws(found),
    }  # fmt: skip


def measure_backlog(chosen: Chosen, events: int, command: str, watch: Watch) -> report.Results:
    """Drain a large backlog on each store instead."""
    with places.opened(chosen) as (stores, folder):
        facts, numbers = machine(folder), dict[str, Numbers]()
        for store in stores:
            watch(f"{store.name}: a backlog of {events:,}")
            numbers[store.name] = backlog.measure(store, events)
        found = {store.name: {"facts": store.facts, "backlog": numbers[store.name]} for store in stores}
    watch("")
    return _head(chosen, {"command": command, "events": events}, facts) | {
        "stores": found, "verdicts": [backlog.line(store, events, one) for store, one in numbers.items()],
        "fine": all(map(backlog.is_fine, numbers.values())),
    }  # fmt: skip


def _head(chosen: Chosen, settings: dict[str, Any], facts: dict[str, str]) -> report.Results:
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    return {"made_at": made_at, "settings": settings, "machine": facts, "left_out": chosen.left_out}


def _measure_store(place: Place, scale: Scale, watch: Watch) -> dict[str, Any]:
    """All figures of one store: each round's numbers, their medians, and the ratios."""
    chosen = figures(place.name, scale)
    rounds: dict[str, list[Numbers]] = {figure.name: [] for figure in chosen}
    for turn in range(scale.rounds):
        for figure in reversed(chosen) if turn % 2 else chosen:
            watch(f"{place.name}, round {turn + 1} of {scale.rounds}: {figure.name}")
            with place.loaded(figure.stored) as dsn:
                rounds[figure.name].append(apart(figure.measure, dsn, figure.events))
    watch("")
    return {"facts": place.facts, "figures": _summaries(chosen, rounds)}


def _summaries(chosen: Sequence[Figure], rounds: dict[str, list[Numbers]]) -> dict[str, Any]:
    summaries: dict[str, Any] = {}
    for figure in chosen:
        median = report.summarise(rounds[figure.name])
        if figure.raw is not None:
            median["ratio"] = report.ratio(rounds[figure.name], rounds[figure.raw])
        summaries[figure.name] = {"events": figure.events, "median": median, "rounds": rounds[figure.name]}
    return summaries
