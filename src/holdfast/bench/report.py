"""The results as data, as Markdown, and as a table in the terminal."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, Any

from holdfast.errors import ConfigurationError

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

_FLAWS = ("lost", "repeated", "wrong_effects")
_ADDED_UP = {*_FLAWS, "samples"}

_METHOD = (
    "Medians of {rounds} interleaved rounds; {events:,} events of 200 bytes with 1,000 keys, ordered by key; every "
    "measurement in a process of its own, on a fresh copy of one prepared database. Drains are timed from the start of "
    "the worker to the last receipt that a reader sees. CPU is what the client process takes. Ratios are taken inside "
    "each round: of rates (more is better), for single publishes and their latency of times (less is better).\n"
)


def summarise(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each number over the rounds; what was lost or repeated is added up."""
    columns: dict[str, list[float]] = {}
    for one in rounds:  # a round that lost everything has no times
        for name, value in one.items():
            columns.setdefault(name, []).append(value)
    return {name: sum(found) if name in _ADDED_UP else statistics.median(found) for name, found in columns.items()}


def ratio(rounds: Sequence[Mapping[str, float]], raw: Sequence[Mapping[str, float]]) -> float:
    """Holdfast to raw SQL, round by round, then the median: of rates, or of median times."""
    number = "events_per_s" if "events_per_s" in raw[0] else "p50_ms"
    return statistics.median(one[number] / other[number] for one, other in zip(rounds, raw, strict=True))


def bars(stores: Mapping[str, Any]) -> list[Results]:
    """Each bar with the value that was found and whether it is met."""
    judged = []
    for store, figure, number, rule, bound in BARS:
        found = stores.get(store, {}).get("figures", {}).get(figure)
        if found is None or number not in found["median"]:  # not measured, or all was lost
            continue
        value = found["median"][number]
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
        for number in _FLAWS
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


def verdicts(stores: Mapping[str, Any]) -> list[str]:
    """How the bars were met, and whether anything was lost or repeated."""
    lost = flaws(stores)
    return [_bar_line(bar) for bar in bars(stores)] + (
        [f"NOT RIGHT: {flaw}" for flaw in lost] or ["Nothing was lost, nothing was handled twice."]
    )


def _bar_line(bar: Mapping[str, Any]) -> str:
    name = "of raw SQL" if bar["number"] == "ratio" else "ms median"
    verdict = "met" if bar["met"] else "NOT MET"
    return f"{bar['store']}: {bar['figure']}: {bar['value']:.2f} {name}, {bar['rule']} {bar['bound']:.2f}: {verdict}"


def terminal(results: Results) -> str:
    """The results as plain text."""
    lines = []
    for store, found in results["stores"].items():
        if "figures" not in found:
            continue
        lines += ["", f"{store} ({found['facts']['version']})", ""]
        rows = table(found)
        widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
        for row in rows:
            numbers = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join([row[0].ljust(widths[0]), *numbers]).rstrip())
    return "\n".join([*lines, *([""] if lines else []), *results["verdicts"]])


def markdown(results: Results) -> str:
    """The results as a page, with all that is known of the machine."""
    parts = [f"# Benchmark of {results['made_at'][:10]}\n", _facts(results["machine"])]
    settings = results["settings"]
    if "rounds" in settings:
        parts.append(_METHOD.format(**settings))
    parts.append(f"Made by `{settings['command']}`.\n")
    parts += [f"{store} is left out: {reason}\n" for store, reason in results["left_out"].items()]
    for store, found in results["stores"].items():
        parts += [f"## {store}\n", _facts(found["facts"]), *([_rows(table(found))] if "figures" in found else [])]
    parts.append("## Bars\n\n" + "\n".join(f"- {line}" for line in results["verdicts"]) + "\n")
    return "\n".join(parts)


def _facts(facts: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {value}" for name, value in facts.items()) + "\n"


def _rows(rows: list[tuple[str, ...]]) -> str:
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "| --- |" + " ---: |" * (len(COLUMNS) - 1), *body]) + "\n"


def write(results: Results, folder: Path, machine: str) -> list[Path]:
    """
    The results as JSON and Markdown, named after day and *machine*, and the figures again as ``latest.md``.

    Raises:
        ConfigurationError: The folder cannot be written.
    """
    has_figures = "bars" in results
    name = f"{results['made_at'][:10]}-{machine}{'' if has_figures else '-backlog'}"
    page = markdown(results)
    written = {folder / f"{name}.json": json.dumps(results, indent=1) + "\n", folder / f"{name}.md": page}
    if has_figures:
        written[folder / "latest.md"] = page
    try:
        for path, text in written.items():
            path.write_text(text, "utf-8")
    except OSError as error:
        raise ConfigurationError(f"the results cannot be written to {folder}: {error}") from error
    return list(written)
