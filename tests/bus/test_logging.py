"""Log records say which event they are about: the engine's, the handler's own, and those of threads."""

from __future__ import annotations

import asyncio
import json
import logging
import logging.handlers
import queue
import sys
from typing import TYPE_CHECKING, Any

import pytest

from holdfast import Event, EventBus, RetryPolicy
from holdfast.telemetry.logs import FIELDS, DeliveryFilter, JsonFormatter

if TYPE_CHECKING:
    from collections.abc import Iterator

own = logging.getLogger("shop.billing")


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    """What reaches a handler with the filter, from every logger."""
    found: list[logging.LogRecord] = []
    handler = logging.handlers.QueueHandler(queue.SimpleQueue())
    handler.emit = found.append  # type: ignore[method-assign]
    handler.addFilter(DeliveryFilter())
    root, before = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield found
    root.removeHandler(handler)
    root.setLevel(before)


def about(records: list[logging.LogRecord], text: str) -> dict[str, Any]:
    (record,) = [record for record in records if text in record.getMessage()]
    return {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}


def expected(event_id: Any, attempt: int = 1) -> dict[str, Any]:
    return {
        "event_id": str(event_id), "event_name": "order.placed", "subscription": "billing", "tenant_id": "acme",
        "correlation_id": "c-1", "attempt": attempt,
    }  # fmt: skip


@pytest.mark.parametrize("where", ["on the loop", "after a wait", "in a task", "in a thread", "in its own thread"])
async def test_what_a_handler_logs_names_its_event(bus: EventBus, records: list[logging.LogRecord], where: str) -> None:
    async def handle(event: Event) -> None:
        if where == "after a wait":
            await asyncio.sleep(0)
        if where == "in a task":
            await asyncio.create_task(asyncio.to_thread(own.info, "billed"))
        elif where == "in a thread":
            await asyncio.to_thread(own.info, "billed")
        else:
            own.info("billed")

    def handle_in_thread(event: Event) -> None:
        own.info("billed")

    bus.subscribe("order.*", handle_in_thread if where == "in its own thread" else handle, name="billing")
    published = await bus.publish("order.placed", tenant_id="acme", headers={"correlation_id": "c-1"})
    await bus.drain(20)
    assert about(records, "billed") == expected(published.event_id)


async def test_what_the_engine_says_of_a_failure_names_the_event(
    bus: EventBus, records: list[logging.LogRecord]
) -> None:
    @bus.subscribe("order.*", name="billing", retry=RetryPolicy(max_attempts=2, base=0.01))
    async def handle(event: Event) -> None:
        raise RuntimeError("broke")

    published = await bus.publish("order.placed", tenant_id="acme", headers={"correlation_id": "c-1"})
    await bus.drain(20)
    assert about(records, "failed at attempt 1") == expected(published.event_id)
    assert about(records, "is dead at attempt 2") == expected(published.event_id, 2)


async def test_outside_of_handlers_nothing_is_added(records: list[logging.LogRecord]) -> None:
    own.info("nobody's")
    assert about(records, "nobody's") == {}


async def test_what_was_given_is_not_written_over(bus: EventBus, records: list[logging.LogRecord]) -> None:
    @bus.subscribe("order.*", name="billing")
    async def handle(event: Event) -> None:
        own.info("of another", extra={"tenant_id": "other"})

    await bus.publish("order.placed", tenant_id="acme")
    await bus.drain(20)
    assert about(records, "of another")["tenant_id"] == "other"


def formatted(message: str = "hello %s", *arguments: object, **given: Any) -> dict[str, Any]:
    record = logging.LogRecord("shop", logging.WARNING, "shop.py", 7, message, arguments, given.pop("exc_info", None))
    vars(record).update(given)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


class TestJson:
    def test_a_record_is_an_object(self) -> None:
        found = formatted("hello %s", "world", event_id="1", amount=3)
        assert found.pop("time").endswith("+00:00")
        assert found == {"level": "warning", "logger": "shop", "message": "hello world", "event_id": "1", "amount": 3}

    def test_an_error_comes_with_its_traceback(self) -> None:
        try:
            raise ValueError("broke")
        except ValueError:
            found = formatted("oh", exc_info=sys.exc_info())
        assert found["error"] == "ValueError"
        assert found["traceback"].endswith("ValueError: broke")

    def test_no_text_forges_a_line_or_turns_it_round(self) -> None:
        record = logging.LogRecord("shop", logging.INFO, "shop.py", 7, "a\nb\u2028c\u202ed\x1b[2J", (), None)
        line = JsonFormatter().format(record)
        assert line.isascii()
        assert json.loads(line)["message"] == "a\nb\u2028c\u202ed\x1b[2J"

    def test_a_value_that_is_not_json_is_told_as_text(self) -> None:
        assert formatted("oh", thing=Event)["thing"] == str(Event)

    def test_a_value_that_cannot_be_told_does_not_cost_the_record(self) -> None:
        class Bad:
            def __str__(self) -> str:
                raise RuntimeError("no")

            def __repr__(self) -> str:
                return "<Bad>"

        assert formatted("oh", thing=Bad())["thing"] == "<Bad>"
