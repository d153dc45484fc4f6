"""The results as data, as Markdown, and as a table in the terminal."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Results = dict[str, Any]

COLUMNS = {
    "figure": "figure", "events_per_s": "events/s", "cpu_us_per_event": "CPU µs/event", "p50_ms": "p50 ms", "p99_ms": "p99 ms",
    "ratio": "ratio to raw SQL", "lost": "lost", "repeated": "repeated",
}  # fmt: skip

# (store, figure, number, "at least" or "under", bound): what must be shown.
BARS: tuple[tuple[str, str, str, str, float], ...] = (
    ("postgresql", "drain, no-op async handler", "ratio", "at least", 1 / 3),
    ("postgresql", "idle latency", "p50_ms", "under", 5.0),
)


def summarise(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each number over the rounds; what was lost or repeated is added up."""
    names = rounds[0].keys()
    return {
        name: sum(one[name] for one in rounds)
        if name in {"lost", "repeated", "wrong_effects", "samples"}
        else statistics.median(one[name] for one in rounds)
        for name in names
    }


def ratio(rounds: Sequence[Mapping[str, float]], raw: Sequence[Mapping[str, float]]) -> float:
    """Holdfast to raw SQL, round by round, then the median: of rates, or of median times."""
    number = "events_per_s" if "events_per_s" in raw[0] else "p50_ms"
    return statistics.median(one[number] / other[number] for one, other in zip(rounds, raw, strict=True))


def bars(stores: Mapping[str, Any]) -> list[Results]:
    """Each bar with the value that was found and whether it is met."""
    judged = []
    for store, figure, number, rule, bound in BARS:
        found = stores.get(store, {}).get("figures", {}).get(figure)
        if found is None:
            continue
        value = found["median"].get(number)
        met = value >= bound if rule == "at least" else value < bound
        bar = {"store": store, "figure": figure, "number": number, "rule": rule, "bound": bound}
        judged.append(bar | {"value": value, "met": met})
    return judged


def flaws(stores: Mapping[str, Any]) -> list[str]:
    """What was lost, or done more than once, anywhere."""
    return [
        f"{store}: {figure}: {number} {found['median'][number]:g}"
        for store, results in stores.items()
        for figure, found in results["figures"].items()
        for number in ("lost", "repeated", "wrong_effects")
        if found["median"].get(number)
    ]


def table(results: Results) -> list[tuple[str, ...]]:
    """One row for each figure of a store."""
    rows: list[tuple[str, ...]] = [tuple(COLUMNS.values())]
    for figure, found in results["figures"].items():
        rows.append((figure, *(_number(found["median"].get(number)) for number in list(COLUMNS)[1:])))
    return rows


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if float(value).is_integer() and abs(value) < 100:
        return f"{value:.0f}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def bar_line(bar: Mapping[str, Any]) -> str:
    name = "of raw SQL" if bar["number"] == "ratio" else "ms median"
    verdict = "met" if bar["met"] else "NOT MET"
    return f"{bar['store']}: {bar['figure']}: {bar['value']:.2f} {name}, {bar['rule']} {bar['bound']:.2f}: {verdict}"


def terminal(results: Results) -> str:
    lines = []
    for store, found in results["stores"].items():
        lines += ["", f"{store} ({found['facts']['version']})", ""]
        rows = table(found)
        widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
        for row in rows:
            numbers = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join([row[0].ljust(widths[0]), *numbers]).rstrip())
    return "\n".join([*lines, "", *_verdicts(results)])


def _verdicts(results: Results) -> list[str]:
    lost = flaws(results["stores"])
    return [bar_line(bar) for bar in results["bars"]] + (
        [f"NOT RIGHT: {flaw}" for flaw in lost] or ["Nothing was lost, nothing was handled twice."]
    )


def markdown(results: Results) -> str:
    parts = [f"# Benchmark of {results['made_at'][:10]}\n", _facts(results["machine"])]
    settings = results["settings"]
    parts.append(
        f"Medians of {settings['rounds']} interleaved rounds; {settings['events']:,} events of 200 bytes with 1,000 "
        f"keys, ordered by key; every measurement in a process of its own, on a fresh copy of one prepared database. "
        f"Drains are timed from the start of the worker to the last receipt that a reader sees. CPU is what the client process takes. Ratios are taken "
        f"inside each round: of rates (more is better), for single publishes and their latency of times (less is "
        f"better). Made by `{settings['command']}`.\n"
    )
    for store, found in results["stores"].items():
        parts += [f"## {store}\n", _facts(found["facts"]), _rows(table(found))]
    parts.append("## Bars\n\n" + "\n".join(f"- {line}" for line in _verdicts(results)) + "\n")
    return "\n".join(parts)


def _facts(facts: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {value}" for name, value in facts.items()) + "\n"


def _rows(rows: list[tuple[str, ...]]) -> str:
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "| --- |" + " ---: |" * (len(COLUMNS) - 1), *body]) + "\n"


def write(results: Results, folder: Path, name: str) -> list[Path]:
    """The results as JSON and Markdown under *name*, and the Markdown again as ``latest.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {
        folder / f"{name}.json": json.dumps(results, indent=1) + "\n",
        folder / f"{name}.md": markdown(results),
        folder / "latest.md": markdown(results),
    }
    for path, text in written.items():
        path.write_text(text)
    return list(written)
