"""A bad day, followed on the overview without a reload: a destination fails, a poison event comes, the worker is gone."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from playwright.sync_api import expect

from holdfast import EventBus

from .conftest import SCREENSHOTS

PROGRAM = """
from pathlib import Path
from holdfast import EventBus, RetryPolicy

bus = EventBus(poll_interval=0.01)


@bus.subscribe("order.*", name="billing", retry=RetryPolicy(max_attempts=40, base=1), partitions=2)
async def bill(event):
    if event.name == "order.poisoned":
        from holdfast import Reject
        raise Reject("no such customer")
    if Path("destination_is_away").exists():
        raise ConnectionError("bank.example.org: connection refused")
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "shop.py").write_text(PROGRAM)
    return tmp_path


@pytest.fixture
def day(request, serve, folder, tmp_path_factory):
    """A site of its own, empty, and what happens on it."""
    is_file = request.param == "sqlite"
    dsn = f"sqlite:///{folder / 'events.db'}" if is_file else request.getfixturevalue("postgres_dsn")
    day = Day(dsn, folder)
    day.run(["migrate", "shop:bus"])
    yield serve(request.param, dsn, filled=False), day
    day.stop_worker()


class Day:
    def __init__(self, dsn: str, folder: Any) -> None:
        self.dsn, self.folder, self.worker = dsn, folder, None
        self.environment = {**os.environ, "HOLDFAST_DSN": dsn, "XDG_STATE_HOME": str(folder / "state")}

    def run(self, arguments: list[str]) -> None:
        subprocess.run(
            [sys.executable, "-m", "holdfast", *arguments], cwd=self.folder, env=self.environment, check=True
        )

    def start_worker(self) -> None:
        command = [sys.executable, "-m", "holdfast", "worker", "shop:bus", "--log-level", "error"]
        self.worker = subprocess.Popen(command, cwd=self.folder, env=self.environment)

    def stop_worker(self) -> None:
        if self.worker is not None:
            self.worker.terminate()
            self.worker.wait(timeout=30)
            self.worker = None

    def publish(self, name: str = "order.placed", *, ago: float = 0) -> None:
        async def there() -> None:
            bus = EventBus(self.dsn, spool="off")
            await bus.publish(name, {"order_id": 1}, occurred_at=datetime.now(UTC) - timedelta(seconds=ago))
            await bus.close()

        with ThreadPoolExecutor(1) as thread:  # this one has a loop of Playwright's
            thread.submit(asyncio.run, there()).result()

    def publish_long_ago(self) -> None:
        """As if it had been published ten minutes ago: what is known of the time since then is forgotten."""
        self.publish(ago=600)
        if self.dsn.startswith("sqlite"):
            with closing(sqlite3.connect(self.folder / "events.db")) as connection, connection:
                connection.execute("delete from snapshots")
        else:
            with psycopg.connect(self.dsn) as connection:
                connection.execute("delete from holdfast.snapshots")

    def take_destination_away(self) -> None:
        (self.folder / "destination_is_away").touch()

    def bring_destination_back(self) -> None:
        (self.folder / "destination_is_away").unlink()


@pytest.mark.parametrize("day", ["sqlite", "postgres"], indirect=True)
def test_the_verdict_follows_what_happens_and_comes_back(day, browser):
    site, day = day
    with browser.new_context(storage_state=site.state) as context:
        page = context.new_page()
        page.goto(site.path("/overview"))
        verdict = page.locator("#verdict")

        def told(pattern: str) -> None:
            expect(verdict).to_have_text(re.compile(pattern, re.DOTALL), timeout=20_000)
            SCREENSHOTS.mkdir(exist_ok=True)
            name = re.sub(r"\W+", "-", pattern).strip("-").lower()
            page.screenshot(path=SCREENSHOTS / f"day-{site.kind}-{name}.png")

        day.start_worker()
        day.publish()
        told("OK.*nothing waits.*1 live worker")
        page.goto(site.path("/workers"))
        expect(page.locator("tbody tr")).to_contain_text("live")
        page.screenshot(path=SCREENSHOTS / f"day-{site.kind}-workers.png")
        page.goto(site.path("/overview"))
        day.take_destination_away()
        day.publish()
        told("DEGRADED.*1 retrying")
        day.bring_destination_back()
        told("OK.*nothing waits")
        day.publish("order.poisoned")
        told("DEGRADED.*1 dead")
        page.goto(site.path("/dead"))
        page.get_by_role("link", name="Discard all that match").click()
        page.get_by_role("dialog").get_by_role("button").click()
        page.goto(site.path("/overview"))
        told("OK.*nothing waits")
        day.stop_worker()
        day.publish_long_ago()
        told("STALLED.*no live worker runs it")
        day.start_worker()
        told("OK.*nothing waits.*1 live worker")
