"""The plugin as a user's tests meet it: in a process of its own, with each way of running tests that are async."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from .runs import counts, project, run_pytest

if TYPE_CHECKING:
    from pathlib import Path

SHOP = """
from holdfast import Event, EventBus

bus = EventBus("sqlite:///own.db")


@bus.subscribe("order.placed")
async def send_receipt(event: Event) -> None:
    await bus.publish("receipt.sent", {"order_id": event.payload["order_id"]})


async def place(order_id):
    await bus.publish("order.placed", {"order_id": order_id}, key=f"order-{order_id}")
"""

TEST = """
import shop


async def test_a_receipt_is_sent(bus, published, clock):
    assert bus is shop.bus
    await shop.place(7)
    await bus.drain(timeout=10)
    published.assert_one("receipt.sent", order_id=7)
    assert clock.ahead == 0


async def test_each_test_has_a_store_of_its_own(bus, published):
    published.assert_none()
    await shop.place(8)
    await bus.drain(timeout=10)
    assert published.names == ["order.placed", "receipt.sent"]


async def test_a_failure_reads_like_one_of_pytest(bus, published):
    await shop.place(9)
    published.assert_one("order.placed", order_id=10)
"""


@pytest.mark.parametrize("kind", ["auto", "strict", "anyio"])
def test_the_fixtures_work_with_every_way_of_running_async_tests(kind: str, tmp_path: Path) -> None:
    marks = {
        "auto": "",
        "strict": "import pytest\n\npytestmark = pytest.mark.asyncio\n",
        "anyio": "import pytest\n\npytestmark = pytest.mark.anyio\n\n\n"
        "@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n",
    }
    ini = f"holdfast_bus = shop:bus\nasyncio_mode = {'auto' if kind == 'auto' else 'strict'}"
    printed = run_pytest(project(tmp_path, ini, shop=SHOP, test_shop=marks[kind] + TEST), status=1)
    assert counts(printed) == {"passed": 2, "failed": 1}
    assert 'E       AssertionError: "order.placed" with order_id=10 was not published' in printed
    assert "E         order.placed  {'order_id': 9}   (order_id is 9)" in printed
    assert "published.py:" not in printed, "the traceback ends in the test"
    assert not (tmp_path / "own.db").exists()


OWN = """
import pytest
from holdfast import Event, SyncEventBus

handled = []


@pytest.fixture
def holdfast_bus():
    made = SyncEventBus("sqlite:///own.db")
    made.subscribe("order.placed", lambda event: handled.append(event.payload["n"]), name="plain")
    return made


@pytest.fixture
def holdfast_dsn(tmp_path):
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture
def clock():
    return "mine"


def test_a_plain_function_has_the_bus_of_threads(sync_bus, published, clock, tmp_path):
    sync_bus.publish("order.placed", {"n": 1})
    sync_bus.drain(timeout=10)
    assert handled == [1]
    published.assert_one("order.placed", n=1)
    assert clock == "mine"
    assert (tmp_path / "test.db").exists()
"""

SHARED_LOOP = """
import pytest
from shop import place

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("n", [1, 2])
async def test_a_receipt_is_sent(bus, published, n):
    await place(n)
    await bus.drain(timeout=10)
    published.assert_one("receipt.sent", order_id=n)
"""


def test_fixtures_of_the_users_own_go_before_and_tests_may_share_a_loop(tmp_path: Path) -> None:
    folder = project(tmp_path, "holdfast_bus = shop", shop=SHOP, test_own=OWN, test_shared=SHARED_LOOP)
    assert counts(run_pytest(folder)) == {"passed": 3}


def test_a_database_of_postgresql_for_each_test(tmp_path: Path) -> None:
    tests = """
    import pytest
    from shop import bus as own

    databases = set()


    @pytest.fixture
    def holdfast_dsn(postgres_dsn):
        return postgres_dsn


    @pytest.mark.parametrize("n", [1, 2])
    async def test_a_receipt_is_sent(bus, published, postgres_dsn, n):
        assert bus is own
        assert published.names == []
        await bus.publish("order.placed", {"order_id": n})
        await bus.drain(timeout=20)
        published.assert_one("receipt.sent", order_id=n)
        assert postgres_dsn not in databases
        databases.add(postgres_dsn)
    """
    ini = "holdfast_bus = shop:bus\nasyncio_mode = auto"
    assert counts(run_pytest(project(tmp_path, ini, shop=SHOP, test_shop=tests))) == {"passed": 2}


def test_who_tests_something_else_imports_nothing_of_the_core() -> None:
    script = "import sys, holdfast.testing.plugin; print(*sorted(one for one in sys.modules if 'holdfast' in one))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["holdfast", "holdfast.testing", "holdfast.testing.plugin"]
