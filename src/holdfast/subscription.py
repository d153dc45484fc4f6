"""What a subscription is to the program that declares it: patterns, handler, policies. No I/O."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypedDict
from uuid import UUID

import msgspec

from holdfast.errors import InvalidEvent, InvalidSubscription
from holdfast.event_types import EventType, Unknown, typed_handler
from holdfast.names import check_event_id, check_occurred_at, check_subscription_name, shown_value, type_name
from holdfast.patterns import Patterns, check_patterns
from holdfast.stores.values import BehindRetention, Declaration

if TYPE_CHECKING:
    from holdfast.event import Event

Handler = Callable[..., Any]
Around = Callable[[Handler], Handler]
"""What stands round handlers: takes one and returns what is called in its place, of the same kind, sync or async."""
"""``handler(event)`` or ``handler(event, delivery)``, async or sync; with ``batch`` the first is a list."""

Start = datetime | UUID | str
"""``"now"``, ``"beginning"``, an aware datetime, or the id of an event."""


THREADS_MAX = 1_000
"""Handlers that are plain functions, at once in a process."""


class SubscribeOptions(TypedDict, total=False):
    """The options of ``subscribe``, for type checkers."""

    name: str | None
    ordering: Literal["key", "none"]
    partitions: int
    concurrency: int | None
    retry: RetryPolicy | None
    timeout: float
    transactional: bool
    batch: int | None
    start: Start
    on_dead: Literal["continue", "hold"]
    replayable: bool
    breaker: int | None
    limits: Limit | Sequence[Limit]
    behind_retention: BehindRetention
    unknown: Unknown | None


def _refuse(field_name: str, problem: str, rule: str) -> NoReturn:
    raise InvalidSubscription(field_name, problem, rule)


def _number(name: str, value: Any, low: float, high: float, *, whole: bool = False, unit: str = "") -> None:
    kinds = (int,) if whole else (int, float)
    # Compared before anything else: NaN is within no bounds, and a huge integer is no float.
    if not (isinstance(value, kinds) and not isinstance(value, bool) and low <= value <= high):
        _refuse(
            name,
            f"is {shown_value(value)}",
            f"use {'a whole number' if whole else 'a number'} from {low:g} to {high:g}{unit}",
        )


def _error_kinds(name: str, kinds: Any) -> tuple[type[BaseException], ...]:
    if isinstance(kinds, list | tuple | set | frozenset) and all(
        isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds
    ):
        return tuple(kinds)
    _refuse(name, "is not a collection of exception classes", "give a tuple, such as (OSError, TimeoutError)")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a failed attempt is repeated, and when a delivery ends dead.

    After failure number *n* the next attempt waits ``base ** n`` seconds, at most ``max_delay``, plus up to 10 %.

    Args:
        max_attempts: Attempts in all, 1 to 1,000; after the last failure the delivery is dead.
        base: 0 to 3,600; 0 repeats at once.
        max_delay: Seconds, 0 to 31,536,000.
        retry_on: Only these errors are retried, others are dead at once; None: every error.
        give_up_on: These errors are dead at once.

    Raises:
        InvalidSubscription: A value is out of its range.
    """

    max_attempts: int = 5
    base: float = 2.0
    max_delay: float = 3600.0
    retry_on: tuple[type[BaseException], ...] | None = None
    give_up_on: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        _number("retry.max_attempts", self.max_attempts, 1, 1000, whole=True)
        _number("retry.base", self.base, 0, 3600)
        _number("retry.max_delay", self.max_delay, 0, 31_536_000, unit=" seconds")
        if self.retry_on is not None:
            object.__setattr__(self, "retry_on", _error_kinds("retry.retry_on", self.retry_on))
        object.__setattr__(self, "give_up_on", _error_kinds("retry.give_up_on", self.give_up_on))

    def delay(self, failures: int, jitter: float) -> float:
        """Seconds to wait after that many failures; *jitter* is from 0 to 1."""
        try:
            wait = min(float(self.base) ** failures, float(self.max_delay))
        except OverflowError:
            wait = float(self.max_delay)
        return wait * (1.0 + 0.1 * jitter)

    def retries(self, error: BaseException) -> bool:
        """Whether this kind of error is worth another attempt."""
        if isinstance(error, self.give_up_on):
            return False
        return self.retry_on is None or isinstance(error, self.retry_on)


@dataclass(frozen=True, slots=True)
class Limit:
    """How much of a subscription may run for each tenant, or for each key.

    What is over it waits, first come, first served, and keeps nobody else waiting; no attempt is counted.

    Args:
        per: ``"tenant"``, or ``"key"``: of each tenant; events without a key have no limit per key.
        rate: Events a second, 0.0001 to 1,000,000, in all workers together: each has the part that its partitions are
            of all. For about a second after partitions have moved it may be more.
        at_once: Events of each tenant handled at once in a process, 1 to 10,000. Those of a key never are.
        burst: Events that may run one right after the other after a pause, 1 to 1,000,000; what a tenth of a second
            brings, at least one.

    Raises:
        InvalidSubscription: A value is out of its range, or nothing is limited.
    """

    per: Literal["tenant", "key"]
    rate: float | None = None
    at_once: int | None = None
    burst: int | None = None

    def __post_init__(self) -> None:
        _one_of("limits.per", self.per, ("tenant", "key"))
        if self.rate is None and self.at_once is None:
            _refuse("limits", "limits nothing", "give rate=, at_once= or both")
        if self.rate is not None:
            _number("limits.rate", self.rate, 0.0001, 1_000_000, unit=" events a second")
        if self.at_once is not None:
            _number("limits.at_once", self.at_once, 1, 10_000, whole=True)
            if self.per == "key":
                _refuse(
                    "limits.at_once", "is given per key", 'a key has one at once: leave it out, with ordering="key"'
                )
        if self.burst is not None:
            _number("limits.burst", self.burst, 1, 1_000_000, whole=True)
            if self.rate is None:
                _refuse("limits.burst", "is given without a rate", "give rate=, too")


@dataclass(slots=True)
class Consumer:
    """A declared subscription with its handler, and what is called in its place: what `subscribe` made of its arguments."""

    name: str
    handler: Handler
    called: Handler
    patterns: tuple[str, ...]
    ordering: Literal["key", "none"] = "key"
    partitions: int = 8
    concurrency: int = 64
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout: float = 300.0
    transactional: bool = False
    batch: int | None = None
    start: Literal["now", "beginning"] | datetime | UUID = "now"
    on_dead: Literal["continue", "hold"] = "continue"
    replayable: bool = True
    breaker: int | None = 20
    limits: tuple[Limit, ...] = ()
    behind_retention: BehindRetention = "hold"
    unknown: Unknown | None = None
    types: tuple[EventType, ...] = ()
    is_async: bool = True
    wants_delivery: bool = False

    @property
    def declaration(self) -> Declaration:
        """What the store is told. Raises ConfigurationError where a type that the handler takes lacks an upcaster."""
        for kind in self.types:
            kind.require_chain()
        return Declaration(
            self.name,
            self.patterns,
            self.partitions,
            self.ordering,
            self.on_dead,
            self.replayable,
            self.start,
            self.behind_retention,
        )


def make_consumer(
    patterns: Patterns, handler: Handler, *, name: str | None, around: Around | None = None, **options: Any
) -> Consumer:
    """
    Check the arguments of `subscribe`.

    Args:
        around: What the bus puts round its handlers.

    Raises:
        InvalidSubscription: Names the argument and the rule.
    """
    if not callable(handler):
        _refuse("handler", f"is of type {type(handler).__name__}", "give a function or another callable")
    _refuse_generators(handler)
    checked = check_patterns(patterns)
    is_async, is_batch = _is_coroutine_function(handler), options.get("batch") is not None
    types, called = typed_handler(
        handler, patterns, checked, is_async=is_async, is_batch=is_batch, unknown=options.get("unknown")
    )
    if around is not None:
        called = _surrounded(called, around)
    positional = _positional_parameters(called)
    consumer = Consumer(
        name=check_subscription_name(name) if name is not None else default_name(handler),
        handler=handler,
        called=called,
        patterns=checked,
        types=types,
        is_async=is_async,
        wants_delivery=positional >= 2,
    )
    _apply(consumer, options)
    return consumer


def require_same_options(known: Consumer, again: Consumer) -> None:
    """
    A function that is subscribed again adds patterns; options it may leave out, or repeat.

    Raises:
        InvalidSubscription: It gives another value than before.
    """
    for option in fields(Consumer):
        before, now = getattr(known, option.name), getattr(again, option.name)
        if option.name not in ("patterns", "concurrency", "called") and now != before and now != _default_of(option):
            _refuse(option.name, f"is {shown_value(now)} and was {shown_value(before)} when {known.name!r} was declared",
                    "give it once, or another name= for another subscription")  # fmt: skip
    if again.concurrency not in (known.concurrency, 64 if again.is_async else 16):
        _refuse("concurrency", f"is {again.concurrency} and was {known.concurrency} when {known.name!r} was declared",
                "give it once, or another name= for another subscription")  # fmt: skip


def _default_of(option: Any) -> Any:
    return option.default_factory() if option.default is MISSING else option.default


def _apply(consumer: Consumer, options: dict[str, Any]) -> None:
    concurrency = options.pop("concurrency", None)
    for option, value in options.items():
        setattr(consumer, option, value)
    consumer.concurrency = concurrency if concurrency is not None else 64 if consumer.is_async else 16
    _number("partitions", consumer.partitions, 1, 1024, whole=True)
    _number("concurrency", consumer.concurrency, 1, 10_000 if consumer.is_async else THREADS_MAX, whole=True)
    _number("timeout", consumer.timeout, 0.001, 604_800, unit=" seconds")
    if consumer.batch is not None:
        _number("batch", consumer.batch, 1, 10_000, whole=True)
        if consumer.transactional:
            _refuse(
                "batch", "is given with transactional=True", "one event has one transaction: give only one of the two"
            )
    if consumer.breaker is not None:
        _number("breaker", consumer.breaker, 1, 1_000_000, whole=True)
    _one_of("ordering", consumer.ordering, ("key", "none"))
    _one_of("on_dead", consumer.on_dead, ("continue", "hold"))
    _one_of("behind_retention", consumer.behind_retention, ("hold", "archive", "drop"))
    for flag in ("transactional", "replayable"):
        if not isinstance(getattr(consumer, flag), bool):
            _refuse(flag, f"is {shown_value(getattr(consumer, flag))}", "use True or False")
    if not isinstance(consumer.retry, RetryPolicy):
        _refuse("retry", f"is of type {type(consumer.retry).__name__}", "give a RetryPolicy(...)")
    consumer.limits = _check_limits(consumer.limits, consumer.ordering)
    consumer.start = _check_start(consumer.start)


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in allowed:
        _refuse(name, f"is {shown_value(value)}", "use " + " or ".join(repr(one) for one in allowed))


def _check_limits(given: Any, ordering: str) -> tuple[Limit, ...]:
    limits = (given,) if isinstance(given, Limit) else given
    if not isinstance(limits, list | tuple) or not all(isinstance(one, Limit) for one in limits):
        _refuse(
            "limits", f"is {shown_value(given)}", 'give a Limit, such as Limit(per="tenant", rate=100), or some of them'
        )
    kinds = [one.per for one in limits]
    if len(kinds) != len(set(kinds)):
        _refuse("limits", f"has {len(kinds)} limits per {kinds[0]}", "give one per tenant and one per key at most")
    if "key" in kinds and ordering != "key":
        # What waits behind a key is held there in order; without order there is nothing to hold it behind.
        _refuse("limits", 'is per key with ordering="none"', 'use ordering="key", or a limit per tenant')
    return tuple(limits)


def _check_start(start: Any) -> Literal["now", "beginning"] | datetime | UUID:
    if isinstance(start, datetime):
        try:
            return check_occurred_at(start)
        except InvalidEvent as refused:
            _refuse("start", refused.problem, "give an aware datetime, such as datetime.now(UTC)")
    if isinstance(start, str) and start in ("now", "beginning"):
        return "now" if start == "now" else "beginning"
    try:
        return check_event_id(start)
    except InvalidEvent:
        _refuse("start", f"is {shown_value(start)}", 'use "now", "beginning", an aware datetime or the id of an event')


def _surrounded(handler: Handler, around: Around) -> Handler:
    called: Any = around(handler)
    if not callable(called):
        _refuse("handler", f"is surrounded by what is of type {type_name(called)}", "around= returns what is called")
    if _is_coroutine_function(called) != _is_coroutine_function(handler):
        _refuse("handler", "and what is called in its place are not both async", "around= returns one of the same kind")
    _refuse_generators(called)
    return called  # type: ignore[no-any-return]


def _functions_of(handler: Handler) -> tuple[Any, Any]:
    """What runs when the handler is called: the function behind partials, and the ``__call__`` of an object."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    return handler, getattr(handler, "__call__", None)  # noqa: B004 - the method is wanted, not whether it can be called


def _is_coroutine_function(handler: Handler) -> bool:
    function, call = _functions_of(handler)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def _refuse_generators(handler: Handler) -> None:
    if any(inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one) for one in _functions_of(handler)):
        # Calling it only makes a generator: not a line of it would run, and every event would count as handled.
        _refuse("handler", "is a generator", "use a function without yield")


def _positional_parameters(handler: Handler) -> int:
    """How many positional arguments the handler takes; those with defaults do not count beyond the first."""
    try:
        parameters = inspect.signature(handler).parameters.values()
    except (TypeError, ValueError):
        return 1
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    required = [one for one in positional if one.default is one.empty]
    if not positional and not any(one.kind is one.VAR_POSITIONAL for one in parameters):
        _refuse("handler", "takes no argument", "it is called with the event, and with the delivery if it takes two")
    named = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY and one.default is one.empty]
    if named:
        _refuse("handler", f"requires {named[0]!r} by name", "it is called with (event) or (event, delivery)")
    if len(required) > 2:
        _refuse("handler", f"requires {len(required)} arguments", "it is called with (event) or (event, delivery)")
    return len(required) if required else 1


def default_name(handler: Handler) -> str:
    """``"<module>.<function>"``; the module is the importable one, also when it runs as ``__main__``.

    Raises:
        InvalidSubscription: A lambda, closure, partial or instance: its name would change or clash.
    """
    qualified = getattr(handler, "__qualname__", None)
    module = getattr(handler, "__module__", None)
    if qualified is None or module is None or "<" in qualified:
        _refuse(
            "name",
            f"cannot be taken from {qualified or type(handler).__name__}",
            "lambdas, nested functions, partials and objects need name=, which is kept for ever",
        )
    if module == "__main__":
        module = _main_module_name()
    return check_subscription_name(f"{module}.{qualified}")


def _main_module_name() -> str:
    """The name by which another program would import the script that runs as ``__main__``."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        name: str = spec.name
        return name.removesuffix(".__main__")
    path = getattr(main, "__file__", None)
    return _import_name(Path(path)) if path and Path(path).exists() else "__main__"


def _import_name(path: Path) -> str:
    """The name of a module's file with the packages that it lies in."""
    name, folder = path.stem, path.resolve().parent
    while (folder / "__init__.py").exists():
        name, folder = f"{folder.name}.{name}", folder.parent
    return name


def describe(handler: Handler) -> str:
    """A handler as messages call it."""
    return f"{getattr(handler, '__module__', '?')}.{getattr(handler, '__qualname__', type(handler).__name__)}"


class Delivery(msgspec.Struct, eq=False):
    """One event on its way to one subscription, as a handler with a second argument sees it.

    Attributes:
        event: The event.
        attempt: 1 at the first try.
        subscription: The subscription's durable name.
        is_replay: Somebody asked for this event again.
        epoch: Grows with each change of the partition's owner: a fencing token for other systems.
        connection: Transactional handlers: the connection on which writes and receipt commit together; else None.
    """

    event: Event
    subscription: str
    attempt: int
    epoch: int
    is_replay: bool
    connection: Any = None
    bus: Any = None

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this event and subscription, different for all others."""
        return f"{self.event.id}:{self.subscription}"

    def __repr__(self) -> str:
        return f"<Delivery of {self.event.id} to {self.subscription!r}, attempt {self.attempt}>"
