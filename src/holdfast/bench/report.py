"""The results as numbers, as Markdown, and as a table in the terminal."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, Any

from holdfast.bench.plots import plots
from holdfast.bench.targets import UNITS
from holdfast.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Results = dict[str, Any]

COLUMNS = {
    "figure": "figure", "events_per_s": "events/s", "cpu_us_per_event": "CPU µs/event", "p50_ms": "p50 ms", "p99_ms": "p99 ms",
    "ratio": "ratio", "lost": "lost", "repeated": "repeated", "raw": "ratio to", "besides": "besides",
}  # fmt: skip
_NUMBERS = [*COLUMNS][1:-2]
_BESIDES = [number for number in UNITS if number not in {*_NUMBERS, "start_ms"}]
_ADDED_UP = {"lost", "repeated", "wrong_effects", "samples"}

_METHOD = (
    "Medians of {rounds} interleaved rounds; {events:,} events of 200 bytes with 1,000 keys, ordered by key; every "
    "measurement in a process of its own, on a fresh copy of one prepared database. Drains are timed from the start of "
    "the worker to the last receipt that a reader sees. CPU is what the client process takes. Ratios are taken inside "
    "each round: of rates (more is better), of single publishes of times (less is better).\n"
)


def summarise(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each number over the rounds; what was lost or repeated is added up."""
    columns: dict[str, list[float]] = {}
    for one in rounds:  # a round that lost everything has no times
        for name, value in one.items():
            columns.setdefault(name, []).append(value)
    return {name: sum(found) if name in _ADDED_UP else statistics.median(found) for name, found in columns.items()}


def ratio(rounds: Sequence[Mapping[str, float]], raw: Sequence[Mapping[str, float]]) -> float | None:
    """A figure to the one it is compared with, round by round, then the median: of rates, or of median times."""
    number = "events_per_s" if any("events_per_s" in one for one in raw) else "p50_ms"
    pairs = [
        (one[number], other[number]) for one, other in zip(rounds, raw, strict=True) if number in one.keys() & other
    ]
    return statistics.median(one / other for one, other in pairs) if pairs else None


def table(results: Results) -> list[tuple[str, ...]]:
    """One row for each figure of a store."""
    rows: list[tuple[str, ...]] = [tuple(COLUMNS.values())]
    for figure, found in results["figures"].items():
        median = found["median"]
        numbers = [_number(median.get(number)) for number in _NUMBERS]
        besides = ", ".join(f"{_number(median[number])} {UNITS[number]}" for number in _BESIDES if number in median)
        rows.append((figure, *numbers, found.get("raw") or "", besides))
    return rows


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if float(value).is_integer() and abs(value) < 100:
        return f"{value:.0f}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def terminal(results: Results) -> str:
    """The results as plain text."""
    lines = []
    for store, found in results["stores"].items():
        lines += ["", f"{store} ({found['facts']['version']})", ""]
        rows = table(found)
        widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
        lines += [_line(row, widths) for row in rows]
    return "\n".join([*lines, "", *results["verdicts"]])


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    """Numbers to the right, words to the left."""
    words = {0, len(COLUMNS) - 2, len(COLUMNS) - 1}
    cells = zip(row, widths, strict=True)
    return "  ".join(
        cell.ljust(width) if column in words else cell.rjust(width) for column, (cell, width) in enumerate(cells)
    ).rstrip()


def markdown(results: Results, images: Sequence[str] = ()) -> str:
    """The results as a page, with all that is known of the machine; *images* are shown by name."""
    settings = results["settings"]
    parts = [
        f"# Benchmark of {results['made_at'][:10]}\n", _facts(results["machine"]), _METHOD.format(**settings),
        f"Made by `{settings['command']}`.\n",
    ]  # fmt: skip
    parts += [f"{store} is left out: {reason}\n" for store, reason in results["left_out"].items()]
    for store, found in results["stores"].items():
        parts += [f"## {store}\n", _facts(found["facts"]), _rows(table(found))]
    parts.append("## Targets\n\n" + "\n".join(f"- {line}" for line in results["verdicts"]) + "\n")
    if images:
        parts.append("## Plots\n\n" + "\n\n".join(f"![{image}]({image})" for image in images) + "\n")
    return "\n".join(parts)


def _facts(facts: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {value}" for name, value in facts.items()) + "\n"


def _rows(rows: list[tuple[str, ...]]) -> str:
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "| --- |" + " ---: |" * len(_NUMBERS) + " --- | --- |", *body]) + "\n"


def write(results: Results, folder: Path, machine: str) -> list[Path]:
    """
    The results as JSON, Markdown and plots, named after day and *machine*; the page again as ``latest.md``.

    Those of the large form, which has few figures, get names of their own and are not the latest.

    Raises:
        ConfigurationError: The folder cannot be written.
    """
    form = results["settings"]["form"]
    name = f"{results['made_at'][:10]}-{machine}{'-large' if form == 'large' else ''}"
    images = {f"{name}-{plot}.svg": image for plot, image in plots(results["stores"]).items()}
    page = markdown(results, list(images))
    written = {f"{name}.json": json.dumps(results, indent=1) + "\n", f"{name}.md": page, **images}
    if form != "large":
        written["latest.md"] = page
    try:
        for file, text in written.items():
            (folder / file).write_text(text, "utf-8")
    except OSError as error:
        raise ConfigurationError(f"the results cannot be written to {folder}: {error}") from error
    return [folder / file for file in written]
