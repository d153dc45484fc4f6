"""What the spectators see: lines while it runs, a table at the end. With rich in a terminal, also a moving bar."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.demo.audit import Findings

COLUMNS = ("store", "scenario", "published", "handled", "again", "lost", "dead", "time")
_LINE_SECONDS = 1.0


class Row(NamedTuple):
    """A scenario that was played."""

    store: str
    scenario: str
    findings: Findings
    seconds: float

    @property
    def cells(self) -> tuple[str, ...]:
        found = self.findings
        counts = (found.published, found.handled, found.repeated, found.lost, found.dead)
        return (self.store, self.scenario, *(f"{count:,}" for count in counts), f"{self.seconds:.0f} s")


class Screen(Protocol):
    """Where the demo tells what happens."""

    def heading(self, text: str) -> None: ...
    def say(self, text: str) -> None: ...
    def progress(self, published: int, total: int, deliveries: int) -> None: ...
    def table(self, rows: Sequence[Row]) -> None: ...
    def close(self) -> None: ...


class PlainScreen:
    """Lines of text, for pipes and files; progress at most once a second."""

    def __init__(self) -> None:
        self._last = ""
        self._next = 0.0

    def heading(self, text: str) -> None:
        print(f"\n{text}", flush=True)
        self._next = time.monotonic() + _LINE_SECONDS

    def say(self, text: str) -> None:
        print(text, flush=True)

    def progress(self, published: int, total: int, deliveries: int) -> None:
        text = f"          … {published:,} of {total:,} published, {deliveries:,} deliveries handled"
        if time.monotonic() >= self._next and text != self._last:
            self._last, self._next = text, time.monotonic() + _LINE_SECONDS
            print(text, flush=True)

    def table(self, rows: Sequence[Row]) -> None:
        print("", *table_lines(rows), sep="\n", flush=True)

    def close(self) -> None:
        """Nothing is held."""


class RichScreen:
    """The same with colours and a bar that moves."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._console = Console(highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,}/{task.total:,} published"),
            TextColumn("{task.fields[deliveries]:,} deliveries handled"), console=self._console, transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=0, deliveries=0)
        self._bar.start()

    def heading(self, text: str) -> None:
        self._console.print(f"\n{text}", style="bold", markup=False)
        self._bar.update(self._task, description=text, completed=0, total=0, deliveries=0)

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def progress(self, published: int, total: int, deliveries: int) -> None:
        self._bar.update(self._task, completed=published, total=total, deliveries=deliveries)

    def table(self, rows: Sequence[Row]) -> None:
        self.close()
        heading, ruler, *lines, legend = table_lines(rows)
        self._console.print("", heading, ruler, sep="\n", style="bold", markup=False)
        for row, line in zip(rows, lines, strict=True):
            self._console.print(line, style="red" if row.findings.problems else None, markup=False)
        self._console.print(legend, markup=False)

    def close(self) -> None:
        self._bar.stop()


def table_lines(rows: Sequence[Row]) -> list[str]:
    """The table of all scenarios, within 80 columns: heading, ruler, a line each, and what a heading means."""
    cells = [COLUMNS, *(row.cells for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    heading, *lines = (
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    )
    return [heading, "  ".join("-" * width for width in widths), *lines, "again: handled more than once"]


def make_screen() -> Screen:
    """The screen that suits where standard output goes."""
    from importlib.util import find_spec

    return RichScreen() if sys.stdout.isatty() and find_spec("rich") else PlainScreen()


@contextmanager
def warnings_on(screen: Screen) -> Iterator[None]:
    """Show what Holdfast itself reports, such as a store that is away, among the demo's lines."""

    class OnScreen(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            screen.say(f"          holdfast: {record.getMessage().splitlines()[0]}")

    logger, handler = logging.getLogger("holdfast"), OnScreen(logging.WARNING)
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates


def verdict(rows: Sequence[Row]) -> tuple[int, list[str]]:
    """The exit code, 0 or 1, and closing lines."""
    found = [row.findings for row in rows]
    lost, published = sum(one.lost for one in found), sum(one.published for one in found)
    problems = [f"{row.store}, {row.scenario}: {problem}" for row in rows for problem in row.findings.problems]
    lines = [f"Lost: {lost:,} of {published:,} events."]
    if problems or lost or not rows:
        return 1, [*lines, *(f"PROBLEM  {problem}" for problem in problems)]
    return 0, [*lines, "Every payload as it was sent, order kept within each key, receipts equal to what was handled."]
