"""The benchmark."""

from __future__ import annotations

import shlex
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.commands import Failure, WrongUsage
from holdfast.cli.options import json_option
from holdfast.cli.output import show_json
from holdfast.printable import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.bench.figures import Form
    from holdfast.bench.places import Kind


# Not `store_options`: a shell that has HOLDFAST_DSN set for its real work shall not put this load on that server.
@click.command("bench")
@click.option(
    "--dsn", metavar="URL",
    help="Measure this PostgreSQL server, or SQLite on the disk of this file. HOLDFAST_DSN does not count here.",
)  # fmt: skip
@click.option(
    "--quick", "form", flag_value="quick", help="The figures that take little: 20,000 events, 3 rounds. The default."
)
@click.option("--full", "form", flag_value="full", help="All figures: 50,000 events, 5 rounds, a backlog of a million.")
@click.option(
    "--large", "form", flag_value="large", help="Only a backlog, a history and a day of 10 million events, once."
)
@click.option(
    "--events", type=click.IntRange(min=1), metavar="N",
    help="Drain so many; with --large, let so many lie there.",
)  # fmt: skip
@click.option("--rounds", type=click.IntRange(min=1), metavar="N", help="Take the medians of so many rounds.")
@click.option("--store", type=click.Choice(["sqlite", "postgresql"]), help="Measure this one only.")
@click.option(
    "--only", metavar="TEXT", default="",
    help="Only figures with this in their name, and what they are compared with.",
)  # fmt: skip
@click.option(
    "--results", metavar="FOLDER", type=click.Path(file_okay=False, path_type=Path),
    help="Write the results there, as JSON, Markdown and plots. [default: nowhere]",
)  # fmt: skip
@json_option
def bench_command(
    dsn: str | None, form: Form | None, events: int | None, rounds: int | None, store: Kind | None, only: str,
    results: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Measure publishing, draining and latency beside plain SQL, on SQLite and PostgreSQL.

    Without --dsn: in a temporary folder, and on a PostgreSQL started for the run where this machine has one. A server
    named by --dsn gets databases of its own, holdfast_bench_..., which are dropped again, and no other is touched; it
    is put under full load all the same. Exit code 1 if an event was lost or handled twice, or a figure failed.
    """
    from holdfast.bench import places, run
    from holdfast.bench.figures import scale_of

    if dsn is not None and store is not None and places.kind_of(dsn) != store:
        raise WrongUsage(f"--dsn names a store of another kind than --store {store}: leave one of them out")
    form = form or "quick"
    options = {f"--{form}": True, "--events": events, "--rounds": rounds, "--store": store, "--only": only}
    make_folder(results)
    with interrupted_by_signals():
        chosen = places.choose(dsn, store)
        for kind, reason in chosen.left_out.items():
            click.echo(f"{kind} is left out: {reason}", err=True)
        found = run.measure(chosen, scale_of(form, events, rounds), only, command_line(options), watch)
    conclude(found, results, as_json=as_json)


def command_line(options: dict[str, Any]) -> str:
    """What was run, for the report; without the DSN, which says where things are and may hold a password."""
    words = ["holdfast", "bench"]
    for name, value in options.items():
        if value:
            words += [name] if value is True else [name, str(value)]
    return shlex.join(words)


def make_folder(results: Path | None) -> None:
    """At once, not after minutes of measuring."""
    try:
        if results is not None:
            results.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"the folder for the results cannot be made: {error}") from error


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """SIGTERM and a closed terminal end the run as Ctrl-C does: processes ended, files and databases removed."""
    numbers = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def watch(text: str) -> None:
    """One line that is written over again, where somebody watches."""
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{text}", nl=False, err=True)


def conclude(found: dict[str, Any], results: Path | None, *, as_json: bool) -> None:
    """Show and store what was found; exit code 1 if it is not as it must be."""
    from holdfast.bench import machine, report

    if as_json:
        show_json(found)
    else:
        click.echo(clean(report.terminal(found), lines=True))
    if results is not None:
        for path in report.write(found, results, machine.slug()):
            click.echo(f"written: {path}", err=as_json)
    if not found["fine"]:
        raise click.exceptions.Exit(1)
