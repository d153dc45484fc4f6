"""What a campaign came to, for people: Markdown, and a plot for each phase."""

from __future__ import annotations

import os
import platform
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos.checker import RULES
from tests.chaos.collecting import PATHS
from tests.chaos.plots import per_second, stacked

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.chaos.fault import Fault
    from tests.chaos.run import Result

_SHOWN = 20


@dataclass(frozen=True)
class About:
    """What the reader needs to repeat it."""

    command: str
    seed: int
    store: str
    began: str
    minutes: float


def write(folder: Path, about: About, results: Sequence[Result], not_run: Sequence[Fault]) -> Path:
    """Write ``report.md`` and the plots; as often as there is something new."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, result in enumerate(results):
        (folder / _plot_name(number, result)).write_text(_plot(result), encoding="utf-8")
    path = folder / "report.md"
    path.write_text("\n".join(_lines(about, results, not_run)) + "\n", encoding="utf-8")
    return path


def _lines(about: About, results: Sequence[Result], not_run: Sequence[Fault]) -> list[str]:
    total: Counter[str] = Counter()
    for result in results:
        total.update({name: n for name, n in result.verdict.figures.items() if not name.startswith("most")})
    good = all(result.is_good for result in results)
    lines = [
        f"# Fault campaign of {about.began}",
        "",
        (
            f"**{'Every promise held' if good else 'NOT every promise held'}** in {len(results)} phases, "
            f"{sum(result.phase.seconds for result in results) / 60:.0f} minutes of them with faults and a quiet quarter, "
            f"{sum(result.took_s for result in results) / 60:.0f} with starting, healing and judging."
        ),
        "",
        f"    {about.command}",
        "",
        (
            f"Seed {about.seed}. Store: {about.store}. {os.cpu_count()} cores, {platform.machine()}, "
            f"{platform.system()}; Python {platform.python_version()}."
        ),
        "",
        "## In all",
        "",
        *_table(("", ""), [(name, f"{count:,}") for name, count in total.items()]),
        "",
        (
            "The last ten rows are the rules of the checker: how many anomalies each has found. *Repeats*: completions of "
            "handlers without a transaction that ran again after a worker was lost before it had flushed their receipts."
        ),
        "",
        "## Phases",
        "",
        *_table(
            (
                "phase",
                "seconds",
                "strikes",
                "published",
                "handled",
                "repeats",
                "most after a loss",
                "lag 0 after",
                "healing bound",
                "anomalies",
            ),
            [_row(result) for result in results],
        ),
        "",
        (
            "*Healing bound*: a lease, every attempt with its timeout, the longest wait of a breaker, half a minute, and "
            "the crashes of each event that kills its process."
        ),
        "",
        *_pairs(results),
        "## Paths that were reached",
        "",
        *_table(("path", "times"), [(path, str(sum(result.paths[path] for result in results))) for path in PATHS]),
        "",
        "## Faults",
        "",
        *_table(("fault", "strikes", "of these, hindered by another fault"), _strikes(results)),
        "",
        "## Not run",
        "",
        *([f"- {fault.name}: needs {', '.join(map(str, fault.missing))}" for fault in not_run] or ["Nothing."]),
        "",
        "## Plots",
        "",
    ]
    for number, result in enumerate(results):
        lines += [*_findings(result), f"![{result.phase.name}]({_plot_name(number, result)})", ""]
    return lines


def _pairs(results: Sequence[Result]) -> list[str]:
    found = [" with ".join(sorted(result.phase.groups)) for result in results if len(result.phase.groups) == 2]
    return [f"Pairs: {'; '.join(found)}. Runs with the seeds that follow have others.", ""] if found else []


def _findings(result: Result) -> list[str]:
    lines = [f"- {result.phase.name}: {problem}" for problem in result.problems[:_SHOWN]]
    for rule, found in result.verdict.anomalies.items():
        lines += [f"- {result.phase.name}, {rule}: {one}" for one in found[:_SHOWN]]
        if len(found) > _SHOWN:
            lines.append(f"- {result.phase.name}, {rule}: {len(found) - _SHOWN} more")
    return [*lines, ""] if lines else []


def _row(result: Result) -> tuple[str, ...]:
    figures = result.verdict.figures
    return (
        result.phase.name + ("" if result.is_whole else " (cut short)"), f"{result.phase.seconds:.0f}",
        str(result.strikes.total()), f"{figures['published']:,}", f"{figures['handled']:,}", f"{figures['repeats']:,}",
        str(figures["most repeats after one loss"]),
        "never" if result.recovery_s is None else f"{result.recovery_s:.1f} s", f"{result.heal_s:.0f} s",
        str(sum(figures[rule] for rule in RULES) + len(result.problems)),
    )  # fmt: skip


def _strikes(results: Sequence[Result]) -> list[tuple[str, int, int]]:
    found: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for result in results:
        found.update(result.strikes)
        failed.update(result.failed_strikes)
    return [(name, times, failed[name]) for name, times in sorted(found.items())]


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]


def _plot(result: Result) -> str:
    end = max([result.phase.seconds, *(at for at, _ in result.lags)])
    return stacked(
        result.phase.name,
        [
            ("lag: deliveries that are not settled", [(at, float(lag)) for at, lag in result.lags]),
            ("attempts per second", per_second(result.attempts, end)),
            ("repeats per second", per_second(result.repeats, end)),
        ],
        result.marks,
    )


def _plot_name(number: int, result: Result) -> str:
    return f"{number:02}-{re.sub('[^a-z0-9]+', '-', result.phase.name.lower()).strip('-')}.svg"
