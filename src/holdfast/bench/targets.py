"""What must be shown, and whether it is."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from holdfast.bench.places import Kind

Rule = Literal["at least", "at most", "under"]


class Target(NamedTuple):
    """A bound that a number of a figure must keep."""

    store: Kind
    figure: str
    number: str
    rule: Rule
    bound: float


TARGETS: tuple[Target, ...] = (
    Target("postgresql", "publish alone", "ratio", "at most", 1.15),
    Target("postgresql", "publish, 200 callers", "ratio", "at least", 0.5),
    Target("postgresql", "publish_many", "ratio", "at least", 0.7),
    Target("postgresql", "publish in the caller's transaction", "statements", "at most", 1),
    Target("postgresql", "drain, no-op async handler", "ratio", "at least", 0.6),
    Target("postgresql", "drain, no-op sync handler", "ratio", "at least", 0.3),
    Target("postgresql", "drain, transactional handler", "ratio", "at least", 0.8),
    Target("postgresql", "drain, two started workers", "ratio", "at least", 1.3),
    Target("postgresql", "idle latency", "p50_ms", "at most", 1),
    Target("postgresql", "idle latency", "p99_ms", "at most", 5),
    Target("postgresql", "idle latency without NOTIFY", "p99_ms", "under", 60),
    Target("postgresql", "latency while 5,000 events/s flow", "published_per_s", "at least", 4_900),
    Target("postgresql", "latency while 5,000 events/s flow", "p50_ms", "at most", 10),
    Target("postgresql", "latency while 5,000 events/s flow", "p99_ms", "at most", 50),
    Target("postgresql", "drain while vacuum is held back", "ratio", "at least", 0.95),
    Target("postgresql", "drain while vacuum is held back", "dead_rows", "under", 1_000),
    Target("postgresql", "drain by 100 subscriptions", "ratio", "at least", 0.9),
    Target("postgresql", "drain, every event another key", "ratio", "at least", 0.9),
    Target("postgresql", "drain with a long history", "ratio", "at least", 0.9),
    Target("postgresql", "drain of a large backlog", "peak_mib", "under", 200),
    Target("postgresql", "drain of a large backlog", "start_ms", "under", 5_000),
    Target("postgresql", "backlog taken over after a kill", "peak_mib", "under", 200),
    Target("postgresql", "backlog taken over after a kill", "start_ms", "under", 5_000),
    Target("postgresql", "backlog taken over after a kill", "read_share", "under", 1),
    Target("postgresql", "retention drop of a full day", "slowest_ms", "at most", 250),
    Target("postgresql", "retention drop of a full day", "dip_percent", "under", 10),
    Target("postgresql", "idle worker, 50 subscriptions", "cpu_percent", "under", 1.5),
    Target("sqlite", "publish alone", "ratio", "at most", 1.2),
    Target("sqlite", "drain, no-op async handler", "ratio", "at least", 0.4),
    Target("sqlite", "import holdfast", "p50_ms", "under", 120),
)

UNITS = {
    "p50_ms": "ms median", "p99_ms": "ms at the 99th percentile", "published_per_s": "published/s",
    "statements": "statements", "dead_rows": "dead rows", "changed_rows": "rows changed", "dead_rows_per_event": "dead rows an event", "left": "left when the time was over", "peak_mib": "MiB at the most",
    "start_ms": "ms to the first event", "rerun": "events run again", "read_share": "of the log read",
    "index_share": "of its index entries looked at",
    "slowest_ms": "ms for the slowest publish", "dip_percent": "% less handled", "drop_ms": "ms for the drop",
    "commit_ms": "ms of it to remove the files",
    "cpu_percent": "% of a core", "transactions_per_s": "transactions/s",
}  # fmt: skip
"""What a number is called behind its value."""

_KEEPS: dict[Rule, Callable[[float, float], bool]] = {
    "at least": operator.ge, "at most": operator.le, "under": operator.lt,
}  # fmt: skip
_FLAWS = ("lost", "repeated", "wrong_effects")


def judge(stores: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each target with the value that was found and whether it is met; what was not measured is left out."""
    judged = []
    for target in TARGETS:
        found = stores.get(target.store, {}).get("figures", {}).get(target.figure)
        if found is None or target.number not in found["median"]:  # or all was lost
            continue
        value = found["median"][target.number]
        met = _KEEPS[target.rule](value, target.bound)
        judged.append(target._asdict() | {"raw": found.get("raw"), "value": value, "met": met})
    return judged


def flaws(stores: Mapping[str, Any]) -> list[str]:
    """What was lost, done more than once, or could not be measured, anywhere."""
    failed = [
        f"{store}: {figure}: {failure}"
        for store, results in stores.items()
        for figure, found in results["figures"].items()
        for failure in found.get("failed", ())
    ]
    return failed + [
        f"{store}: {figure}: {number} {found['median'][number]:g}"
        for store, results in stores.items()
        for figure, found in results["figures"].items()
        for number in _FLAWS
        if found["median"].get(number)
    ]


def verdicts(stores: Mapping[str, Any]) -> list[str]:
    """How the targets were met, and whether anything was lost or repeated."""
    lost = [f"NOT RIGHT: {flaw}" for flaw in flaws(stores)]
    return [_line(one) for one in judge(stores)] + (lost or ["Nothing was lost, nothing was handled twice."])


def _line(one: Mapping[str, Any]) -> str:
    unit = UNITS.get(one["number"]) or f"of {one['raw']}"
    verdict = "met" if one["met"] else "NOT MET"
    bound = f"{one['rule']} {one['bound']:,g}"
    return f"{one['store']}: {one['figure']}: {one['value']:,.2f} {unit}, {bound}: {verdict}"
