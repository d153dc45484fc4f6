"""``pytest --holdfast-faults`` finds a planted handler that is not idempotent, and says nothing against one that is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from holdfast.testing.faults import KINDS

from .runs import counts, project, run_pytest

if TYPE_CHECKING:
    from pathlib import Path

INI = "holdfast_bus = shop:bus\nasyncio_mode = auto"

SHOP = """
from uuid import NAMESPACE_URL, uuid5

from holdfast import Delivery, Event, EventBus

bus = EventBus()
stock, paid, ledger = {"hat": 10}, set(), []


@bus.subscribe("order.placed")
async def take_from_stock(event: Event) -> None:
    stock[event.payload["item"]] -= 1  # planted: again, and one more is gone


@bus.subscribe("order.placed")
def charge(event: Event) -> None:
    paid.add(event.payload["order_id"])


@bus.subscribe("order.placed")
async def confirm(event: Event, delivery: Delivery) -> None:
    await bus.publish("order.confirmed", event.payload, event_id=uuid5(NAMESPACE_URL, delivery.idempotency_key))


@bus.subscribe("order.shipped")
async def tell(event: Event) -> None:
    await bus.publish("mail.sent", event.payload)  # planted: another event each time


@bus.subscribe("order.counted")
async def count(event: Event) -> None:
    if event.payload["n"] not in ledger:
        ledger.append(event.payload["n"])  # planted: a list has an order
"""

TEST = """
import pytest
import shop


@pytest.fixture(autouse=True)
def full():
    shop.stock["hat"] = 10
    shop.paid.clear()
    shop.ledger.clear()


async def test_an_order(bus, published):
    await bus.publish("order.placed", {"order_id": 1, "item": "hat"})
    await bus.drain(timeout=20)
    assert shop.stock == {"hat": 9}
    assert shop.paid == {1}
    published.assert_one("order.confirmed", order_id=1)


async def test_a_payment(bus):
    await bus.publish("order.placed", {"order_id": 2, "item": "hat"})
    await bus.drain(timeout=20)
    assert shop.paid == {2}


async def test_a_mail(bus, published):
    await bus.publish("order.shipped", {"order_id": 3})
    await bus.drain(timeout=20)
    published.assert_one("mail.sent", order_id=3)


async def test_counting(bus):
    await bus.publish_many([{"name": "order.counted", "payload": {"n": n}} for n in (1, 2, 3)])
    await bus.drain(timeout=20)
    assert shop.ledger == [1, 2, 3]


async def test_what_fails_anyway(bus):
    await bus.drain(timeout=20)
    raise ValueError("not a fault's doing")


def test_without_a_bus():
    pass
"""


def verdict_of(printed: str) -> list[str]:
    section = printed.partition(" holdfast faults ")[2].splitlines()[1:]
    return [line for line in section if line.startswith(("    ", "shop.", "(no", "no handler"))]


def test_planted_handlers_are_named_and_the_others_are_not(tmp_path: Path) -> None:
    printed = run_pytest(project(tmp_path, INI, shop=SHOP, test_shop=TEST), "--holdfast-faults", status=1)
    struck = ["duplicate", "crash", "lost-connection"]
    assert verdict_of(printed) == [
        "shop.count depends on the order of unrelated keys:",
        "    reorder          test_shop.py::test_counting[reorder]",
        "shop.take_from_stock is not idempotent:",
        *(f"    {kind:15}  test_shop.py::test_an_order[{kind}]" for kind in struck),
        "shop.tell is not idempotent:",
        *(f"    {kind:15}  test_shop.py::test_a_mail[{kind}]" for kind in struck),
        "shop.charge passed: duplicate, crash, lost-connection",
        "shop.confirm passed: duplicate, crash, lost-connection",
    ]
    assert counts(printed) == {"failed": 3 + 3 + 1 + 1, "passed": 1 + 2 + 5 + 2 + 4, "skipped": 4}
    report = re.search(r"-+ Holdfast: crash -+\n(.*)\n(.*)", printed)
    assert report is not None
    assert report[1] == f"What happened: {KINDS['crash']}."
    assert report[2] == "It was shop.take_from_stock."


def test_handlers_that_are_idempotent_pass(tmp_path: Path) -> None:
    chosen = ("test_shop.py::test_a_payment", "test_shop.py::test_without_a_bus")
    printed = run_pytest(project(tmp_path, INI, shop=SHOP, test_shop=TEST), "--holdfast-faults", *chosen)
    assert counts(printed) == {"passed": 1 + len(KINDS) + 1}
    assert all("passed: duplicate, crash, lost-connection" in line for line in verdict_of(printed))


def test_the_verdict_comes_from_all_processes(tmp_path: Path) -> None:
    folder = project(tmp_path, INI, shop=SHOP, test_shop=TEST)
    printed = run_pytest(folder, "--holdfast-faults", "-n", "2", "-k", "test_a_mail or fails_anyway", status=1)
    assert [line for line in verdict_of(printed) if not line.startswith("    ")] == ["shop.tell is not idempotent:"]


def test_a_run_that_struck_nobody_says_so(tmp_path: Path) -> None:
    folder = project(tmp_path, "asyncio_mode = auto", test_nothing="async def test_nothing(bus):\n    pass\n")
    printed = run_pytest(folder, "--holdfast-faults")
    assert verdict_of(printed) == ["no handler was struck: no test has drained a bus with a subscription"]
