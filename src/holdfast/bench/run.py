"""The figures of the chosen stores, round by round.

Every round takes each measurement once, odd rounds in the opposite order, so that a machine that grows slower or
noisier harms all alike.
"""

from __future__ import annotations

import compileall
import time
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.bench import places, report, targets
from holdfast.bench.apart import apart
from holdfast.bench.figures import figures
from holdfast.bench.machine import machine
from holdfast.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holdfast.bench.figures import Figure, Scale
    from holdfast.bench.places import Chosen, Place
    from holdfast.bench.workload import Numbers

    Watch = Callable[[str], None]
    """Is told what is being measured; an empty text at the end."""


def measure(chosen: Chosen, scale: Scale, only: str, command: str, watch: Watch) -> report.Results:
    """
    Measure the figures.

    Args:
        chosen: The stores, and where.
        scale: How much.
        only: Part of the names of the figures that are wanted; with nothing, all of the scale's form.
        command: What the report says that was run.
        watch: Is told how far it is.

    Raises:
        ConfigurationError: There is no such figure.
    """
    wanted = {kind: some for kind in chosen.kinds if (some := figures(kind, scale, only))}
    if not wanted:
        raise ConfigurationError(f"no figure has {only!r} in its name, of those that --{scale.form} measures")
    _compile()
    with places.opened(chosen._replace(kinds=tuple(wanted))) as (stores, folder):
        started, facts = time.monotonic(), machine(folder)
        found: dict[str, Any] = {
            store.name: _measure_store(store, wanted[store.name], scale.rounds, watch) for store in stores
        }
    settings = {
        "command": command, "form": scale.form, "events": scale.events, "grown": scale.grown, "rounds": scale.rounds,
        "seconds": round(time.monotonic() - started),
    }  # fmt: skip
    return _head(_left_out(chosen, scale), settings, facts) | {
        "stores": found, "targets": targets.judge(found), "verdicts": targets.verdicts(found), "fine": not targets.flaws(found),
    }  # fmt: skip


def _compile() -> None:
    """As pip leaves an installed package: a checkout may be compiled anew by every process that starts, and timed so."""
    compileall.compile_dir(Path(__file__).parent.parent, quiet=2)


def _left_out(chosen: Chosen, scale: Scale) -> dict[str, str]:
    """What is not measured that would have been, and why."""
    found = {str(kind): reason for kind, reason in chosen.left_out.items()}
    if scale.form == "full" and "postgresql" in chosen.kinds:
        from holdfast.bench import alternatives

        found |= alternatives.left_out()
    return found


def _head(left_out: dict[str, str], settings: dict[str, Any], facts: dict[str, str]) -> report.Results:
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    return {"made_at": made_at, "settings": settings, "machine": facts, "left_out": left_out}


def _measure_store(place: Place, chosen: Sequence[Figure], rounds: int, watch: Watch) -> dict[str, Any]:
    """
    All figures of one store: each round's numbers, their medians, and the ratios.

    One that cannot be measured has no numbers for that round, and its error: the hour of work before it is not lost.
    """
    found: dict[str, list[Numbers]] = {figure.name: [] for figure in chosen}
    failed: dict[str, list[str]] = {figure.name: [] for figure in chosen}
    uses = Counter(figure.load for figure in chosen)
    for turn in range(rounds):
        for figure in reversed(chosen) if turn % 2 else chosen:
            watch(f"{place.name}, round {turn + 1} of {rounds}: {figure.name}")
            with place.loaded(figure.load, keep=rounds * uses[figure.load] > 1) as dsn:
                try:
                    numbers = apart(figure.measure, dsn, figure.events)
                except Exception as error:  # noqa: BLE001 - whatever it is, it is reported, and the run is not fine
                    numbers = {}
                    failed[figure.name].append(f"round {turn + 1}: {type(error).__name__}: {error}")
            found[figure.name].append(numbers)
    watch("")
    return {
        "facts": place.facts,
        "figures": {one.name: _summary(one, found) | {"failed": failed[one.name]} for one in chosen},
    }


def _summary(figure: Figure, found: dict[str, list[Numbers]]) -> dict[str, Any]:
    rounds = found[figure.name]
    median = report.summarise(rounds)
    if figure.raw is not None and (ratio := report.ratio(rounds, found[figure.raw])) is not None:
        median["ratio"] = ratio
    return {
        "events": figure.events, "load": asdict(figure.load), "raw": figure.raw, "median": median, "rounds": rounds,
    }  # fmt: skip
