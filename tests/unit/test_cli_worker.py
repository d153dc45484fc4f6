"""``holdfast worker`` and ``migrate MODULE:BUS`` as real processes, and the health server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from holdfast import EventBus
from holdfast.cli.commands import Failure, WrongUsage
from holdfast.cli.health import HealthServer, request_line
from holdfast.cli.load import load_bus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOLDFAST = [sys.executable, "-c", "from holdfast.cli import main; main()"]
PATIENCE_S = 30.0

SHOP = """
from holdfast import EventBus
bus = EventBus()

@bus.subscribe("order.*", name="billing", partitions=2)
async def bill(event):
    with open("handled", "a") as file:
        file.write(f"{event.payload}\\n")
"""


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.01)
    raise AssertionError(f"waited {PATIENCE_S} s in vain until {what}")


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A folder with a small program in it."""
    (tmp_path / "shop.py").write_text(SHOP)
    paths = [str(Path(path).resolve()) for path in sys.path if path]
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "shop", raising=False)
    monkeypatch.setenv("HOLDFAST_DSN", f"sqlite:///{tmp_path / 'shop.db'}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    return tmp_path


def holdfast(*arguments: str) -> str:
    return subprocess.run(
        [*HOLDFAST, *arguments], check=True, capture_output=True, text=True, timeout=PATIENCE_S
    ).stdout


@contextmanager
def worker(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A worker process and its health port."""
    process = subprocess.Popen(
        [*HOLDFAST, "worker", *arguments, "--health-port", "0"], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        port = next(int(found[1]) for line in process.stderr if (found := re.search(r":(\d+)/readyz", line)))
        yield process, port
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def get(port: int, path: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


def test_a_worker_handles_and_stops_gracefully(shop):
    with worker("shop:bus") as (process, port):
        wait_until(lambda: get(port, "/readyz")[0] == 200, "the worker is ready")
        wait_until(lambda: "billing" in holdfast("subscriptions"), "the subscription is registered")
        holdfast("publish", "order.placed", '"one"', "--key", "k")
        wait_until(lambda: (shop / "handled").exists() and (shop / "handled").read_text() == "one\n", "it is handled")
        assert get(port, "/livez") == (200, {"status": "alive"})
        assert get(port, "/elsewhere")[0] == 404
        wait_until(lambda: json.loads(holdfast("status", "--json"))["subscriptions"][0]["lag"] == 0, "it is settled")
        assert json.loads(holdfast("status", "--json"))["workers"] == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    assert json.loads(holdfast("leases", "--json"))[0]["owner"] is None


def test_migrate_registers_what_a_program_declares(shop):
    assert "registered billing" in holdfast("migrate", "shop:bus")
    holdfast("publish", "order.placed")
    assert json.loads(holdfast("status", "--json"))["subscriptions"][0]["lag"] == 1


def refused(*arguments: str) -> str:
    done = subprocess.run([*HOLDFAST, *arguments], check=False, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stderr


def test_a_worker_writes_its_log_as_json(shop):
    (shop / "shop.py").write_text(SHOP + "    raise RuntimeError('no such customer')\n")
    with worker("shop:bus", "--log-format", "json") as (process, port):
        wait_until(lambda: get(port, "/readyz")[0] == 200, "the worker is ready")
        event_id = holdfast("publish", "order.placed", '"one"', "--tenant", "acme").strip()
        assert process.stderr is not None
        said = next(record for line in process.stderr if "failed" in (record := json.loads(line))["message"])
    assert (said["level"], said["subscription"], said["tenant_id"]) == ("warning", "billing", "acme")
    assert (said["event_id"], said["attempt"]) == (event_id, 1)


@pytest.mark.parametrize("command", ["migrate", "worker"])
def test_another_store_than_the_bus_names_is_refused(shop, command):
    (shop / "own.py").write_text(SHOP.replace("EventBus()", "EventBus('postgresql://ann:s3cret@localhost/own')"))
    shown = refused(command, "own:bus", "--dsn", "postgresql://bob:s3cret@localhost/other")
    assert "bob:***@localhost/other" in shown
    assert "ann:***@localhost/own" in shown
    assert "--schema says other, but shop:bus is made for holdfast" in refused(command, "shop:bus", "--schema", "other")


def test_a_bus_that_names_no_store_takes_the_one_given_and_says_so(shop):
    given = f"sqlite:///{shop / 'other.db'}"
    assert f"store {given}" in holdfast("migrate", "shop:bus", "--dsn", given)
    process = subprocess.Popen(
        [*HOLDFAST, "worker", "shop:bus", "--dsn", given], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    begun = next(line for line in process.stderr if "working on" in line)
    process.terminate()
    process.communicate(timeout=PATIENCE_S)
    assert "other.db for billing" in begun


class TestLoading:
    def test_the_attribute_is_bus_by_default(self, shop):
        assert load_bus("shop") is load_bus("shop:bus")

    @pytest.mark.parametrize(
        ("place", "message"),
        [
            ("nowhere:bus", "no module 'nowhere'"),
            ("shop.py", "write MODULE:BUS"),
            (":bus", "write MODULE:BUS"),
            ("shop:bill", "not an EventBus"),
            ("shop:shop", "has no 'shop'"),
        ],
    )
    def test_what_is_not_there(self, shop, place, message):
        with pytest.raises(WrongUsage, match=message):
            load_bus(place)

    def test_a_module_that_fails_names_the_line(self, shop):
        (shop / "broken_shop.py").write_text("import json\nimport not_installed_anywhere\n")
        with pytest.raises(Failure, match=r"not_installed_anywhere.*broken_shop\.py, line 2"):
            load_bus("broken_shop:bus")


class TestHealthServer:
    async def test_a_store_that_cannot_be_reached(self, tmp_path):
        bus = EventBus("postgresql://ann:s3cret@127.0.0.1:1/nowhere", spool="off")
        async with HealthServer([bus], "127.0.0.1", 0) as server:
            code, _, body = await server.answer("GET", "/readyz?x=1")
            metrics = await server.answer("GET", "/metrics")
        assert (code, json.loads(body)["status"]) == (503, "UNREACHABLE")
        assert b"s3cret" not in body
        assert metrics.code == 200
        assert b'holdfast_store_up{store="postgresql-127.0.0.1-1-nowhere-holdfast"} 0.0' in metrics.content
        assert b"s3cret" not in metrics.content

    async def test_metrics_of_a_worker_and_its_store(self, shop):
        bus = load_bus("shop:bus")
        async with bus, HealthServer([bus], "127.0.0.1", 0) as server:
            await bus.publish("order.placed", {"n": 1})
            await bus.drain(20)
            code, content_type, body = await server.answer("GET", "/metrics")
        lines, store = body.decode().splitlines(), f"sqlite-{shop / 'shop.db'}"
        assert (code, content_type.partition(";")[0]) == (200, "text/plain")
        for metric, value in {
            'holdfast_published_events_total{store="%s",where="store"}': 1,
            'holdfast_delivered_events_total{store="%s",subscription="billing"}': 1,
            'holdfast_handler_duration_seconds_count{store="%s",subscription="billing"}': 1,
            'holdfast_lag_events{store="%s",subscription="billing"}': 0,
            'holdfast_live_workers{store="%s",subscription="billing"}': 1,
            'holdfast_store_up{store="%s"}': 1,
        }.items():
            assert f"{metric % store} {value:.1f}" in lines

    async def test_metrics_without_the_library_name_the_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "holdfast.telemetry.prometheus", None)
        monkeypatch.setitem(sys.modules, "prometheus_client", None)
        monkeypatch.delitem(sys.modules, "holdfast.telemetry.prometheus")
        async with HealthServer([], "127.0.0.1", 0) as server:
            code, _, body = await server.answer("GET", "/metrics")
        assert code == 501
        assert "pip install 'holdfast[metrics]'" in json.loads(body)["error"]

    async def test_only_get(self):
        async with HealthServer([], "127.0.0.1", 0) as server:
            assert (await server.answer("POST", "/livez"))[0] == 405
            assert (await server.answer("HEAD", "/livez"))[0] == 200

    async def test_a_port_in_use(self):
        async with HealthServer([], "127.0.0.1", 0) as server:
            with pytest.raises(Failure, match="cannot listen"):
                async with HealthServer([], "127.0.0.1", server.port):
                    pass

    @pytest.mark.parametrize("line", [b"", b"GET /", b"GET / SPDY/9", "GET /é HTTP/1.1".encode()])
    def test_what_is_no_request(self, line):
        with pytest.raises(ValueError):
            request_line(line)
