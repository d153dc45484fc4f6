"""Subscribing: forms, names, options, patterns, and where a new subscription begins."""

from __future__ import annotations

import asyncio
import functools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from holdfast import Delivery, Event, EventBus, RetryPolicy
from holdfast.errors import DuplicateSubscription, IncompatibleSubscription, InvalidSubscription, NotFound

from .waiting import run, sql, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PLAIN = "sqlite://"
"""Nothing is stored by tests that use it."""


async def noted(event: Event) -> None:
    """A handler at the top of a module."""


async def noted_too(event: Event) -> None:
    """Another one."""


class Handlers:
    async def method(self, event: Event) -> None: ...

    @staticmethod
    async def static(event: Event) -> None: ...

    def __call__(self, event: Event) -> None: ...


# ---- forms and names


async def test_as_a_decorator_and_as_a_call_it_gives_the_handler_back(bus: EventBus) -> None:
    seen: list[str] = []

    @bus.subscribe("a", name="decorated")
    async def decorated(event: Event) -> None:
        seen.append("decorated")

    async def called(event: Event) -> None:
        seen.append("called")

    assert bus.subscribe("a", called, name="called") is called
    assert decorated.__name__ == "decorated"
    await bus.publish("a")
    await bus.drain(10)
    assert sorted(seen) == ["called", "decorated"]


def test_the_default_name_is_module_and_function() -> None:
    bus = EventBus(PLAIN)
    bus.subscribe("a", noted)
    bus.subscribe("a", Handlers().method)
    bus.subscribe("a", Handlers.static)
    assert [one.name for one in bus.consumers] == [
        f"{__name__}.noted", f"{__name__}.Handlers.method", f"{__name__}.Handlers.static",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "handler", [lambda event: None, functools.partial(noted), Handlers()], ids=["lambda", "partial", "object"]
)
def test_handlers_without_a_lasting_name_need_one(handler: Any) -> None:
    bus = EventBus(PLAIN)
    with pytest.raises(InvalidSubscription, match="name=") as refused:
        bus.subscribe("a", handler)
    assert refused.value.field == "name"
    assert bus.subscribe("a", handler, name="given") is handler


def test_a_closure_needs_a_name() -> None:
    bus = EventBus(PLAIN)

    async def closure(event: Event) -> None: ...

    with pytest.raises(InvalidSubscription, match="name="):
        bus.subscribe("a", closure)
    with pytest.raises(InvalidSubscription, match="name="):
        bus.subscribe("a")(closure)


APP = """
    from holdfast import EventBus

    bus = EventBus("sqlite://")

    @bus.subscribe("a")
    async def handle(event): ...

    if __name__ == "__main__":
        print(bus.consumers[0].name)
"""


def test_a_script_has_the_name_under_which_it_can_be_imported(script: Callable[..., Path]) -> None:
    """``python app.py`` and ``holdfast worker app:bus`` are one subscription."""
    app = script(APP, "app")
    importer = script("import app; print(app.bus.consumers[0].name)", "importer")
    assert run(app) == run(importer) == "app.handle\n"


def test_a_module_run_with_m_has_the_name_under_which_it_can_be_imported(
    script: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "__main__.py").write_text("import shop.events\n")
    script(APP, "shop/events")
    runner = script(
        """
        import runpy, sys
        sys.argv = ["shop.events"]
        runpy.run_module("shop.events", run_name="__main__", alter_sys=True)
        """,
        "runner",
    )
    assert run(runner) == "shop.events.handle\n"


def test_the_same_function_again_adds_a_pattern() -> None:
    bus = EventBus(PLAIN)
    bus.subscribe("a", noted)
    bus.subscribe(["b", "a"], noted)
    (consumer,) = bus.consumers
    assert consumer.patterns == ("a", "b")


async def test_an_added_pattern_is_delivered_also_while_the_worker_runs(bus: EventBus) -> None:
    seen: list[str] = []

    async def handle(event: Event) -> None:
        seen.append(event.name)

    bus.subscribe("a", handle, name="h")
    async with bus:
        await bus.publish("a")
        await bus.publish("b.before")
        await until(lambda: seen == ["a"])
        bus.subscribe("b.*", handle, name="h")
        await bus.publish("b.after")
        await until(lambda: seen == ["a", "b.after"])


def test_another_function_under_the_same_name_is_refused() -> None:
    bus = EventBus(PLAIN)
    bus.subscribe("a", noted, name="h")
    with pytest.raises(DuplicateSubscription) as refused:
        bus.subscribe("b", noted_too, name="h")
    assert refused.value.name == "h"
    assert f"{__name__}.noted" in str(refused.value)
    assert f"{__name__}.noted_too" in str(refused.value)
    (consumer,) = bus.consumers
    assert (consumer.handler, consumer.patterns) == (noted, ("a",))


async def test_one_function_may_have_two_subscriptions(bus: EventBus) -> None:
    seen: list[str] = []

    async def handle(event: Event, delivery: Delivery) -> None:
        seen.append(delivery.subscription)

    bus.subscribe("a", handle, name="one")
    bus.subscribe("a", handle, name="two")
    await bus.publish("a")
    await bus.drain(10)
    assert sorted(seen) == ["one", "two"]


# ---- options

NAN, HUGE = float("nan"), 10**5000


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("partitions", [0, -1, 1025, 1.5, NAN, HUGE, True, "8", None]),
        ("concurrency", [0, -1, 10_001, 1.5, NAN, HUGE, True, "8"]),
        ("timeout", [0, -1, 604_801, NAN, float("inf"), HUGE, True, "8", None, timedelta(seconds=1)]),
        ("batch", [0, -1, 10_001, 1.5, NAN, HUGE, True, "8"]),
        ("breaker", [0, -1, 1.5, NAN, HUGE, True, "8"]),
        ("ordering", ["", "keys", None, 1, ["key"]]),
        ("on_dead", ["", "stop", None, 1, ["hold"]]),
        ("transactional", [1, "yes", None]),
        ("replayable", [0, "no", None]),
        ("retry", [5, "never", {"max_attempts": 5}, RetryPolicy]),
        ("start", ["", "later", "never", 5, None, datetime(2020, 1, 1), "0" * 32, ["now"], HUGE]),  # noqa: DTZ001
        ("name", ["", "a b", "x" * 201, "é", "a;b", "a\n", "a%", 5, "\x00", "\ud800"]),
    ],
)
def test_bad_values_of_options_are_refused_by_name(option: str, values: list[Any]) -> None:
    bus = EventBus(PLAIN)
    for value in values:
        with pytest.raises(InvalidSubscription) as refused:
            bus.subscribe("a", noted, **{option: value})
        assert refused.value.field == option, value if value is not HUGE else "huge"
        assert len(str(refused.value)) < 400
    assert bus.consumers == ()


@pytest.mark.parametrize(
    "options",
    [
        {"partitions": 1}, {"partitions": 1024}, {"concurrency": 1}, {"concurrency": 10_000}, {"concurrency": None},
        {"timeout": 0.001}, {"timeout": 604_800}, {"batch": 1}, {"batch": 10_000}, {"batch": None}, {"breaker": None},
        {"breaker": 1}, {"ordering": "none"}, {"on_dead": "hold"}, {"replayable": False}, {"start": "beginning"},
        {"start": datetime(2026, 1, 1, tzinfo=UTC)}, {"start": UUID(int=1)}, {"start": str(UUID(int=1))}, {"name": "x" * 200},
        {"name": "a-B_c:/1.<locals>.x"}, {"retry": None},
    ],
    ids=str,
)  # fmt: skip
def test_values_at_the_bounds_are_taken(options: dict[str, Any]) -> None:
    bus = EventBus(PLAIN)
    bus.subscribe("a", noted, **options)
    assert len(bus.consumers) == 1


def test_a_batch_is_not_transactional() -> None:
    with pytest.raises(InvalidSubscription, match="batch"):
        EventBus(PLAIN).subscribe("a", noted, batch=5, transactional=True)


def test_defaults_are_those_of_the_contract() -> None:
    bus = EventBus(PLAIN)
    bus.subscribe("a", noted)
    bus.subscribe("a", Handlers(), name="sync")
    consumer, in_threads = bus.consumers
    assert (consumer.ordering, consumer.partitions, consumer.concurrency, consumer.retry) == (
        "key", 8, 64, RetryPolicy(max_attempts=5, base=2.0, max_delay=3600),
    )  # fmt: skip
    assert (consumer.timeout, consumer.transactional, consumer.batch, consumer.start) == (300, False, None, "now")
    assert (consumer.on_dead, consumer.replayable) == ("continue", True)
    assert in_threads.concurrency == 16


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("retry.max_attempts", [{"max_attempts": value} for value in (0, -1, 1001, 1.5, NAN, HUGE, True, "5", None)]),
        ("retry.base", [{"base": value} for value in (-1, 3601, NAN, float("inf"), HUGE, True, "2", None)]),
        ("retry.max_delay", [{"max_delay": value} for value in (-1, 31_536_001, NAN, HUGE, True, "2", None)]),
        ("retry.retry_on", [{"retry_on": value} for value in (ValueError, "ValueError", (1,), ("x",), (int,), 5)]),
        ("retry.give_up_on", [{"give_up_on": value} for value in (ValueError, "x", (1,), (int,), None, 5)]),
    ],
)
def test_bad_values_of_a_retry_policy_are_refused_by_name(field: str, options: list[dict[str, Any]]) -> None:
    for values in options:
        with pytest.raises(InvalidSubscription) as refused:
            RetryPolicy(**values)
        assert refused.value.field == field


def test_delays_are_powers_with_a_bound_and_a_tenth_of_jitter() -> None:
    policy = RetryPolicy()
    assert [policy.delay(n, 0) for n in (1, 2, 3, 4)] == [2, 4, 8, 16]
    assert policy.delay(1, 1) == pytest.approx(2.2)
    assert policy.delay(10_000, 0) == 3600
    assert RetryPolicy(base=3600, max_delay=31_536_000).delay(1000, 0) == 31_536_000


async def _asynchronous_generator(event: Event) -> Any:
    yield event


def _generator(event: Event) -> Any:
    yield event


class GeneratorObject:
    def __call__(self, event: Event) -> Any:
        yield event


@pytest.mark.parametrize(
    "handler",
    [
        5, "noted", object(), lambda: None, lambda a, b, c: None, lambda event, *, named: None,
        _generator, _asynchronous_generator, GeneratorObject(), functools.partial(_generator),
    ],
)  # fmt: skip
def test_what_cannot_handle_an_event_is_refused(handler: Any) -> None:
    bus = EventBus(PLAIN)
    with pytest.raises(InvalidSubscription) as refused:
        bus.subscribe("a", handler, name="h")
    assert refused.value.field == "handler"
    assert bus.consumers == ()


async def test_handlers_with_defaults_and_stars_get_the_event_alone(bus: EventBus) -> None:
    seen: list[int] = []

    def with_default(event: Event, extra: Any = None, *, named: Any = None) -> None:
        assert extra is None
        seen.append(1)

    def with_stars(*arguments: Any, **named: Any) -> None:
        assert len(arguments) == 1
        seen.append(2)

    bus.subscribe("a", with_default, name="default")
    bus.subscribe("a", with_stars, name="stars")
    await bus.publish("a")
    await bus.drain(10)
    assert sorted(seen) == [1, 2]


# ---- patterns


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ("a.b", ["a.b"]),
        ("a.*", ["a.b", "a.c"]),
        ("*.b", ["a.b", "x.b"]),
        ("a.**", ["a.b", "a.c", "a.b.c"]),
        ("*.b.*", ["a.b.c"]),
        ("*", ["a", "b"]),
        ("**", ["a", "a.b", "a.c", "x.b", "a.b.c", "b"]),
        (["a", "b", "*.c"], ["a", "a.c", "b"]),
        (("a", "a.**"), ["a", "a.b", "a.c", "a.b.c"]),
    ],
    ids=str,
)
async def test_patterns_choose_events_by_name(
    dsn: str, make_bus: Callable[..., EventBus], patterns: Any, expected: list[str]
) -> None:
    bus = make_bus(dsn)
    seen: list[str] = []

    async def handle(event: Event) -> None:
        seen.append(event.name)

    bus.subscribe(patterns, handle, name="h", partitions=1, concurrency=1)
    await bus.publish_many([{"name": name, "payload": None} for name in ["a", "a.b", "a.c", "x.b", "a.b.c", "b"]])
    await bus.drain(10)
    assert seen == expected


@pytest.mark.parametrize(
    "patterns",
    ["", " ", ".", "a.", ".a", "a..b", "a b", "**.a", "a.**.b", "a*", "*a", "a.b*", "***", "a.[b]", "^a$", "a|b", "a;b",
     "a%", "é", "a\n", "\x00", "*." * 500 + "*", "x" * 201, [], [""], ["a", "b c"], ["a"] * 5 + ["**.x"], None, 5, {"a"},
     [5], [None], [["a"]], [f"p{n}" for n in range(101)]],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_other_patterns_are_refused(patterns: Any) -> None:
    bus = EventBus(PLAIN)
    with pytest.raises(InvalidSubscription) as refused:
        bus.subscribe(patterns, noted)
    assert refused.value.field.startswith("patterns")
    assert bus.consumers == ()


# ---- registration, and where a subscription begins


async def test_an_event_published_right_after_subscribing_is_delivered(bus: EventBus) -> None:
    seen: list[Any] = []
    async with bus:
        await bus.publish("a", "before")
        bus.subscribe("a", seen.append, name="h")
        await bus.publish("a", "after")
        await until(lambda: seen)
        await bus.drain(10)
    assert [event.payload for event in seen] == ["after"]


async def test_it_is_registered_before_the_first_publish_and_lasts_without_a_worker(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    publisher = make_bus(shared_dsn)
    publisher.subscribe("a", noted, name="h")
    await publisher.publish("a", 1)
    assert sql(shared_dsn, "select name from subscriptions") == [("h",)]
    seen: list[Any] = []
    worker = make_bus(shared_dsn)
    worker.subscribe("a", lambda event: seen.append(event.payload), name="h")
    await worker.drain(10)
    assert seen == [1]


async def test_start_now_is_what_comes_after(bus: EventBus) -> None:
    assert await _seen_from(bus, "now") == ["later"]


async def test_start_beginning_is_everything(bus: EventBus) -> None:
    assert await _seen_from(bus, "beginning") == ["first", "second", "third", "later"]


async def test_start_with_an_event_begins_with_it(bus: EventBus) -> None:
    event_id = uuid4()
    assert await _seen_from(bus, event_id, second_id=event_id) == ["second", "third", "later"]


async def test_start_with_the_text_of_an_id(bus: EventBus) -> None:
    event_id = uuid4()
    assert await _seen_from(bus, str(event_id), second_id=event_id) == ["second", "third", "later"]


async def test_start_with_a_time_begins_with_what_occurred_then_or_later(bus: EventBus) -> None:
    assert await _seen_from(bus, datetime(2021, 1, 1, tzinfo=UTC)) == ["second", "third", "later"]


async def test_start_with_a_time_of_another_zone_and_at_the_end_of_time(bus: EventBus) -> None:
    from datetime import timezone

    east = timezone(timedelta(hours=14))
    assert await _seen_from(bus, datetime(9999, 12, 31, 23, 59, tzinfo=east)) == ["later"]


async def _seen_from(bus: EventBus, start: Any, second_id: Any = None) -> list[str]:
    seen: list[str] = []

    async def handle(event: Event) -> None:
        seen.append(event.payload)

    await bus.publish("a", "first", occurred_at=datetime(2020, 1, 1, tzinfo=UTC))
    await bus.publish("a", "second", occurred_at=datetime(2021, 1, 1, tzinfo=UTC), event_id=second_id)
    await bus.publish("a", "third", occurred_at=datetime(2022, 1, 1, tzinfo=UTC))
    bus.subscribe("a", handle, name="h", start=start, partitions=1, concurrency=1)
    await bus.publish("a", "later")
    await bus.drain(10)
    return seen


async def test_start_counts_only_at_the_first_registration(shared_dsn: str, make_bus: Callable[..., EventBus]) -> None:
    first = make_bus(shared_dsn)
    await first.publish("a", "before")
    first.subscribe("a", noted, name="h")
    await first.publish("a", "after")
    await first.close()
    seen: list[Any] = []
    second = make_bus(shared_dsn)
    second.subscribe("a", lambda event: seen.append(event.payload), name="h", start="beginning")
    await second.drain(10)
    assert seen == ["after"]


async def test_to_start_from_an_unknown_event_is_an_error(bus: EventBus) -> None:
    event_id = uuid4()
    bus.subscribe("a", noted, name="h", start=event_id)
    with pytest.raises(NotFound, match=str(event_id)):
        await bus.publish("a")


async def test_another_number_of_partitions_is_refused_with_the_way_to_change_it(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    first = make_bus(shared_dsn)
    first.subscribe("a", noted, name="h", partitions=4)
    await first.publish("a")
    second = make_bus(shared_dsn)
    second.subscribe("a", noted, name="h", partitions=5)
    for attempt in (second.publish("a"), second.drain(5), second.__aenter__()):
        with pytest.raises(IncompatibleSubscription) as refused:
            await attempt
        assert (refused.value.name, refused.value.field) == ("h", "partitions")
        assert (refused.value.stored, refused.value.declared) == (4, 5)
        assert "holdfast subscriptions repartition h 5" in str(refused.value)
    assert sql(shared_dsn, "select count(*) from event_log") == [(1,)]


async def test_the_latest_registration_wins_and_running_workers_reload_it(
    shared_dsn: str, make_bus: Callable[..., EventBus]
) -> None:
    seen: list[str] = []

    async def handle(event: Event) -> None:
        seen.append(event.name)

    worker = make_bus(shared_dsn)
    worker.subscribe("a", handle, name="h")
    async with worker:
        await worker.publish("a")
        await until(lambda: seen == ["a"])
        newer = make_bus(shared_dsn)
        newer.subscribe("b", noted, name="h")
        await newer.publish("b")
        await newer.publish("a")
        await until(lambda: "b" in seen)
        await newer.publish("b")
        await until(lambda: seen.count("b") == 2)
    assert seen == ["a", "b", "b"]


async def test_subscribing_from_another_thread_while_the_bus_runs(bus: EventBus) -> None:
    seen: list[Any] = []
    async with bus:
        await bus.publish("a", 0)
        await asyncio.to_thread(lambda: bus.subscribe("a", lambda event: seen.append(event.payload), name="h"))
        await bus.publish("a", 1)
        await until(lambda: seen == [1])
