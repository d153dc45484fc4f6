"""The example shop behind FastAPI, served as its first lines say, from an empty folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.bus.waiting import program_environment, sql, stored, until_sync

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@contextmanager
def served(folder: Path, dsn: str) -> Iterator[httpx.Client]:
    """A client of the shop, which is stopped in the end as a server is, and has nothing to complain about."""
    environment = program_environment({"HOLDFAST_DSN": dsn, "STAFF_PASSWORD": "please"})
    environment["PYTHONPATH"] += f"{os.pathsep}{ROOT}"
    command = [sys.executable, "-m", "uvicorn", "examples.fastapi_shop:app", "--port", "0"]
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said: list[str] = []
        while not (found := re.search(r"running on (\S+)", "".join(said[-1:]))):
            said.append(process.stderr.readline())
            assert said[-1], "".join(said)
        try:
            with httpx.Client(base_url=found[1], timeout=20) as client:
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
            said.append(process.communicate(timeout=30)[1])
    errors = "".join(said)
    assert "Application shutdown complete" in errors, errors
    assert "Traceback" not in errors, errors


@pytest.fixture(params=["sqlite", "postgresql"])
def dsn(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue("sqlite_dsn" if request.param == "sqlite" else "postgres_dsn")
    return found


def test_orders_and_events_commit_together_and_receipts_are_sent(tmp_path: Path, dsn: str) -> None:
    with served(tmp_path, dsn) as client:
        number = client.post("/orders", json={"customer": "ann", "item": "anchor"}).json()["id"]
        assert client.post("/orders", json={"customer": "ann", "item": "albatross"}).status_code == 409
        until_sync(lambda: client.get(f"/orders/{number}").json()["receipt_sent"])
    assert stored(dsn) == ["order.placed"]
    assert sql(dsn, "select item from orders") == [("anchor",)]
    with served(tmp_path, dsn) as client:  # what was there is there, and nothing is sent again
        assert client.get(f"/orders/{number}").json() == {"id": number, "item": "anchor", "receipt_sent": True}


def test_the_dashboard_is_behind_the_login_of_the_application(tmp_path: Path, sqlite_dsn: str) -> None:
    with served(tmp_path, sqlite_dsn) as client:
        client.post("/orders", json={"customer": "ann", "item": "anchor"})
        assert client.get("/operations/").status_code == 401
        assert client.post("/login", json={"password": "let me in"}).status_code == 401
        assert client.post("/login", json={"password": "please"}).status_code == 204
        page = client.get("/operations/events")
        assert page.status_code == 200
        assert "order.placed" in page.text
