"""``holdfast dev`` as a process: a PostgreSQL with the tables, and a worker; what it keeps, and what it leaves."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from click.testing import CliRunner

from holdfast.cli import main
from holdfast.cli.commands import WrongUsage
from holdfast.cli.dev import bus_for_development
from tests.bus.waiting import program_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

SHOP = """
from holdfast import EventBus

bus = EventBus()
elsewhere = EventBus("sqlite:///elsewhere.db")


@bus.subscribe("order.placed", name="billing")
async def bill(event):
    print("billed", event.payload["order_id"], flush=True)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that an unprivileged account may enter, which `tmp_path` is not where root runs the tests."""
    made = Path(tempfile.mkdtemp(prefix="holdfast-test-"))
    made.chmod(0o755)
    (made / "shop.py").write_text(SHOP, "utf-8")
    yield made
    shutil.rmtree(made)


def environment() -> dict[str, str]:
    """Without what the surroundings say of stores, but with what they say of PostgreSQL's programs."""
    return program_environment({name: os.environ[name] for name in ("HOLDFAST_PG_BIN",) if name in os.environ})


@contextmanager
def dev(folder: Path, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Gives the DSN and the process, which is ended by SIGTERM, and well."""
    with subprocess.Popen(
        [sys.executable, "-m", "holdfast", "dev", "--port", "0", *arguments],
        cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            (dsn,) = next(
                found.groups() for line in process.stdout if (found := re.search(r"HOLDFAST_DSN=(\S+)", line))
            )
            yield dsn, process
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()


def test_a_worker_handles_on_a_server_whose_data_is_kept_and_the_dashboard_shows_it(folder: Path) -> None:
    with dev(folder, "shop:bus") as (dsn, process):
        assert process.stdout is not None
        published = CliRunner().invoke(main, ["publish", "order.placed", '{"order_id": 7}', "--dsn", dsn])
        assert published.exit_code == 0, published.output
        assert process.stdout.readline() == "billed 7\n"
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(dsn, connect_timeout=2)
    assert (folder / ".holdfast" / ".gitignore").read_text("utf-8") == "*\n"
    with dev(folder, "--dashboard", "--dashboard-port", "0") as (dsn, process), psycopg.connect(dsn) as connection:
        assert connection.execute("select status from holdfast.event_store").fetchall() == [("processed",)]
        assert process.stdout is not None
        assert any(line.startswith("Open http://127.0.0.1:") for line in process.stdout)


def test_a_bus_that_names_a_store_of_its_own_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "shop", raising=False)
    monkeypatch.setenv("HOLDFAST_DSN", "postgresql://127.0.0.1/dev")
    assert bus_for_development("shop:bus", "postgresql://127.0.0.1/dev").consumers
    with pytest.raises(WrongUsage, match=r"shop:elsewhere names a store of its own: make it EventBus\(\)"):
        bus_for_development("shop:elsewhere", "postgresql://127.0.0.1/dev")
