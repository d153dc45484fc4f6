"""A Flask application: views publish, handlers run in its context, its command line looks after the bus."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, current_app

from holdfast.errors import ConfigurationError
from holdfast.integrations.flask import Holdfast
from tests.bus.waiting import program_environment, receipts, stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holdfast import Event

SHOP = """
from flask import Flask, current_app

from holdfast.integrations.flask import Holdfast

holdfast = Holdfast({dsn!r}, schema={schema!r}, auto_migrate=True, spool="off")


@holdfast.bus.subscribe("order.placed", name="receipts", start="beginning")
def send_receipt(event):
    print("receipt", current_app.config["SHOP"], event.payload["order_id"], flush=True)


def create_app():
    app = Flask(__name__)
    app.config["SHOP"] = "anchor"
    holdfast.init_app(app)
    return app
"""


@pytest.fixture
def shop(sqlite_dsn: str) -> Iterator[tuple[Holdfast, Flask]]:
    holdfast, app = Holdfast(sqlite_dsn, spool="off"), Flask("shop")
    app.config["SHOP"] = "anchor"

    @app.post("/orders")
    def place() -> str:
        return holdfast.bus.publish("order.placed", {"order_id": 1}).where

    yield holdfast, app
    holdfast.bus.close()


def test_a_view_publishes_and_handlers_run_in_the_context(shop: tuple[Holdfast, Flask], sqlite_dsn: str) -> None:
    holdfast, app = shop
    seen: list[Any] = []

    @holdfast.bus.subscribe("order.placed", name="plain")
    def plain(event: Event) -> None:
        seen.append(("plain", current_app.config["SHOP"]))

    @holdfast.bus.subscribe("order.placed", name="async")
    async def in_the_loop(event: Event) -> None:
        seen.append(("async", current_app.config["SHOP"]))

    holdfast.init_app(app)
    with holdfast.bus:
        assert app.test_client().post("/orders").text == "store"
        holdfast.bus.drain(timeout=10)
    assert sorted(seen) == [("async", "anchor"), ("plain", "anchor")]
    assert app.extensions["holdfast"] is holdfast


def test_what_else_stands_round_handlers_is_within_the_context(sqlite_dsn: str) -> None:
    seen: list[Any] = []

    def around(handler: Any) -> Any:
        def call(event: Event) -> None:
            seen.append(current_app.name)
            handler(event)

        return call

    app = Flask("shop")
    holdfast = Holdfast(sqlite_dsn, app=app, around=around, spool="off")
    holdfast.bus.subscribe("a", lambda event: seen.append(event.name), name="s")
    with holdfast.bus:
        holdfast.bus.publish("a")
        holdfast.bus.drain(timeout=10)
    assert seen == ["shop", "a"]


def test_without_an_application_the_reason_is_said() -> None:
    with pytest.raises(ConfigurationError, match=r"call init_app\(app\)"):
        Holdfast("sqlite://")._application()


@pytest.fixture(params=["sqlite", "postgresql"])
def dsn(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue("sqlite_dsn" if request.param == "sqlite" else "postgres_dsn")
    return found


def test_its_command_line_works_on_its_store(tmp_path: Path, dsn: str) -> None:
    schema = "holdfast" if dsn.startswith("sqlite") else "shop_events"
    (tmp_path / "shop.py").write_text(SHOP.format(dsn=dsn, schema=schema), "utf-8")
    flask = [sys.executable, "-m", "flask", "--app", "shop", "holdfast"]
    elsewhere = program_environment({"HOLDFAST_DSN": "sqlite:///elsewhere.db"})

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [*flask, *arguments], cwd=tmp_path, env=elsewhere, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("migrate")
    run("publish", "order.placed", '{"order_id": 7}')
    with subprocess.Popen(
        [*flask, "worker"], cwd=tmp_path, env=elsewhere, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as worker:
        try:
            assert worker.stdout is not None
            line = worker.stdout.readline()
        finally:
            worker.send_signal(signal.SIGTERM)
        rest, errors = worker.communicate(timeout=30)
    assert worker.returncode == 0, errors
    assert line == "receipt anchor 7\n", line + rest + errors
    assert "receipts" in run("status")
    assert "receipts" in run("subscriptions")
    assert not (tmp_path / "elsewhere.db").exists()
    if dsn.startswith("sqlite"):
        assert (stored(dsn), receipts(dsn)) == (["order.placed"], 1)
