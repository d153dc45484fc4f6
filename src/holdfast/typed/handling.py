"""Handlers that take values of declared types: what is called with events in their place."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from holdfast.encrypted import is_encrypted, unreadable
from holdfast.errors import Reject
from holdfast.event_types import VERSION_HEADER
from holdfast.subscription import Delivery
from holdfast.typed.declared import version_in
from holdfast.typed.problems import HeldEvent, Misfit, UndecodableEvent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from holdfast.event import Event
    from holdfast.event_types import Unknown
    from holdfast.subscription import Handler
    from holdfast.typed.declared import Declared

HOLD_SECONDS = 300.0
"""How long an event is put off that nobody here knows; with 1,000 times at most, that lasts three days and a half."""

_NOTHING: Any = object()


def decoding(
    handler: Handler, types: Sequence[Declared], *, is_async: bool, is_batch: bool, unknown: Unknown
) -> Handler:
    """What is called with an event, or with a list of them, in place of *handler*: of the same kind, async or not."""
    read = Reader(types, unknown)
    if is_batch:
        return _batches_asynchronously(handler, read) if is_async else _batches(handler, read)
    return _singly_asynchronously(handler, read) if is_async else _singly(handler, read)


class Reader:
    """From an event to the value that a handler takes.

    Args:
        types: What the handler takes.
        unknown: What becomes of an event that none of them knows.
    """

    def __init__(self, types: Sequence[Declared], unknown: Unknown) -> None:
        self._types = {one.name: one for one in types}
        self._unknown = unknown

    def __call__(self, event: Event) -> Any:
        """
        The value; `_NOTHING` where the handler is not to be called.

        Raises:
            UndecodableEvent, HeldEvent, Reject, PayloadLocked
        """
        if event.is_erased:
            return _NOTHING
        declared = self._types.get(event.name)
        if declared is None:
            return self._met(event, f"the handler takes {' or '.join(self._types)}")
        version = 1
        try:
            version = version_in(event.header(VERSION_HEADER))
            if declared.knows(version):
                return declared.decode(_payload(event), version)
        except Misfit as misfit:
            raise UndecodableEvent(event.id, event.name, version, misfit.path, misfit.problem) from None
        known = f"{declared.oldest} to {declared.version}" if declared.version > 1 else "1"
        return self._met(event, f"its version is {version}, and versions {known} are known here")

    def _met(self, event: Event, problem: str) -> Any:
        if self._unknown == "skip":
            return _NOTHING
        problem = f"{event.name} {event.id}: {problem}"
        raise HeldEvent(problem, HOLD_SECONDS) if self._unknown == "hold" else Reject(problem)

    def values_of(self, events: Sequence[Event]) -> tuple[list[Any], list[int]]:
        """The values, and the places of the events that have one."""
        found = [(value, place) for place, event in enumerate(events) if (value := self(event)) is not _NOTHING]
        return [value for value, _ in found], [place for _, place in found]


def _payload(event: Event) -> bytes:
    payload = event.row.payload
    if is_encrypted(payload):
        raise unreadable(event.id, payload)
    return payload


# What stands round handlers may give them more than the delivery, by name: all of it goes on.


def _singly(handler: Handler, read: Reader) -> Handler:
    @functools.wraps(handler)
    def call(event: Event, *others: Any, **named: Any) -> Any:
        value = read(event)
        return None if value is _NOTHING else handler(value, *others, **named)

    return call


def _singly_asynchronously(handler: Handler, read: Reader) -> Handler:
    @functools.wraps(handler)
    async def call(event: Event, *others: Any, **named: Any) -> None:
        value = read(event)
        if value is not _NOTHING:
            await handler(value, *others, **named)

    return call


def _batches(handler: Handler, read: Reader) -> Handler:
    @functools.wraps(handler)
    def call(events: Sequence[Event], *others: Any, **named: Any) -> Any:
        values, places = read.values_of(events)
        return handler(values, *_thinned(others, places), **_thinned_named(named, places)) if values else None

    return call


def _batches_asynchronously(handler: Handler, read: Reader) -> Handler:
    @functools.wraps(handler)
    async def call(events: Sequence[Event], *others: Any, **named: Any) -> None:
        values, places = read.values_of(events)
        if values:
            await handler(values, *_thinned(others, places), **_thinned_named(named, places))

    return call


def _thinned_named(named: Mapping[str, Any], places: Sequence[int]) -> dict[str, Any]:
    return dict(zip(named, _thinned(tuple(named.values()), places), strict=True))


def _thinned(others: Sequence[Any], places: Sequence[int]) -> list[Any]:
    """Of a list of deliveries those whose events have a value; all else as it is."""
    return [
        [one[place] for place in places] if isinstance(one, list) and one and isinstance(one[0], Delivery) else one
        for one in others
    ]
