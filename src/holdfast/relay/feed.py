"""Events as they come, for browsers and everybody who reads server-sent events. Needs the extra ``web``."""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec

from holdfast import SyncEventBus
from holdfast.counts import FeedCounts
from holdfast.errors import (
    ConfigurationError,
    HoldfastError,
    InvalidInput,
    MalformedEvent,
    MissingExtra,
    StoreUnavailable,
)
from holdfast.event import Event
from holdfast.names import check_tenant
from holdfast.patterns import Matcher, check_patterns
from holdfast.relay.cloudevents import of_event, to_structured
from holdfast.relay.place import Place, place_of
from holdfast.relay.tail import Tail

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping, Sequence

    from holdfast import EventBus
    from holdfast.dashboard.access import Actor, Authenticate
    from holdfast.event import Row

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

logger = logging.getLogger("holdfast.feed")

STREAM_SECONDS = 300.0
"""Then a stream ends, and its reader comes again from where it was: whoever may not read any more is noticed."""

_OUTAGE_SECONDS = 1.0
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]
_REASONS = {
    400: "malformed", 401: "not known", 403: "not allowed", 404: "no such place", 405: "no GET", 500: "not now",
    503: "not now",
}  # fmt: skip
_LINE_END = re.compile(rb"\r\n|\r|\n")


class Feed:
    """
    ``GET /feed?patterns=order.*&patterns=invoice.**``: events as CloudEvents, one after the other, as they are stored.

    An ASGI application, to be mounted or served. Each event has an ``id``; a reader that comes with it as
    ``Last-Event-ID``, as browsers do by themselves, gets exactly what follows. It is no subscription: nothing is stored
    about its readers, and what retention has dropped meanwhile is gone.

    Args:
        bus: Any bus of the store; it need not run.
        authenticate: Tells who makes a request, as for the dashboard: takes the ``starlette.requests.Request``, gives an
            `Actor`, whatever its role, or None. Without it every request gets 403 and the reason.
        tenant_of: Takes the actor and gives the one tenant whose events that actor sees; None: of all.
        source: The CloudEvents ``source`` of events that were published here.
        streams: Most readers at once; more get 503.
        heartbeat: Seconds without an event after which a comment is sent, with the place so far.
        poll_interval: How often the store is asked, for all readers together, seconds.

    Raises:
        MissingExtra: Starlette is not installed.
        ConfigurationError: An argument is of no use, or the bus keeps its events in memory.
    """

    def __init__(
        self, bus: EventBus | SyncEventBus, *, authenticate: Authenticate | None = None,
        tenant_of: Callable[[Actor], str | None] | None = None, source: str = "holdfast", streams: int = 200,
        heartbeat: float = 15.0, poll_interval: float = 0.2,
    ) -> None:  # fmt: skip
        try:
            import starlette.requests  # noqa: F401
        except ModuleNotFoundError as error:
            raise MissingExtra(error.name or "starlette", "web", "a feed") from error
        if authenticate is not None and not callable(authenticate):
            raise ConfigurationError("authenticate= of a feed is a function that takes a request and gives an Actor")
        self._authenticate, self._tenant_of, self._source = authenticate, tenant_of, source
        self._streams, self._heartbeat, self._poll_interval = streams, heartbeat, poll_interval
        self._tail = Tail(bus.dsn, bus.schema, poll_interval=poll_interval)
        self._closing = asyncio.Event()
        self._open = 0
        self.bus = bus.async_bus if isinstance(bus, SyncEventBus) else bus
        self._counts = self.bus.feed_counts = self.bus.feed_counts or FeedCounts(_REASONS.values())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live_and_close(receive, send)
            return
        if scope["type"] != "http":
            raise ConfigurationError(f"a feed answers HTTP, not {scope['type']}")
        self._open += 1
        try:
            wants, place = await self._admit(scope, receive)
            await self._serve(wants, place, receive, send)
        except _Refusal as refusal:
            self._counts.refused[_REASONS[refusal.status]] += 1
            await _refuse(send, refusal)
        finally:
            self._open -= 1

    def end(self) -> None:
        """End every stream; new ones end at once."""
        self._closing.set()

    async def close(self) -> None:
        """End every stream, and close the store's connections."""
        self.end()
        await self._tail.close()

    async def _live_and_close(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})

    # Who may read what

    async def _admit(self, scope: Scope, receive: Receive) -> tuple[_Wants, Place]:
        if scope["path"].removeprefix(scope.get("root_path", "")).rstrip("/") not in {"", "/feed"}:
            raise _Refusal(404, "there is nothing here")
        if scope["method"] != "GET":
            raise _Refusal(405, "a feed is read by GET")
        tenant = await self._tenant(scope, receive)
        try:
            query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=200)
            wants = _Wants(query, tenant)
            place = self._place(scope, query)
        except ValueError as error:  # InvalidInput, too
            raise _Refusal(400, str(error)) from error
        if self._open > self._streams:
            raise _Refusal(503, f"at most {self._streams} readers are served at once")
        try:
            if place is None:
                return wants, await self._tail.now()
            await self._tail.read(place)
        except StoreUnavailable as error:
            logger.warning("a feed cannot begin: %s", error)
            raise _Refusal(503, "the store cannot be reached now") from error
        except HoldfastError as error:
            logger.warning("a feed cannot begin: %s", error)
            raise _Refusal(400 if place else 500, "this place cannot be read from") from error
        return wants, place

    async def _tenant(self, scope: Scope, receive: Receive) -> str | None:
        """The only tenant that who asks may see; None: every one. Raises _Refusal."""
        from starlette.requests import Request

        if self._authenticate is None:
            raise _Refusal(403, "this feed was made without authenticate=, so it lets nobody in")
        found = self._authenticate(Request(scope, receive))
        actor = await found if inspect.isawaitable(found) else found
        if actor is None:
            raise _Refusal(401, "you are not known here")
        return None if self._tenant_of is None else self._tenant_of(actor)

    def _place(self, scope: Scope, query: dict[str, list[str]]) -> Place | None:
        given = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"last-event-id"]
        text = (given or query.get("after", [""]))[-1]
        place = place_of(text) if text else None
        if place is not None and not self._tail.knows(place):
            raise InvalidInput("Last-Event-ID", "is a place in a store of another kind", "begin anew, without it")
        return place

    # The stream

    async def _serve(self, wants: _Wants, place: Place, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        streaming = asyncio.ensure_future(self._stream(wants, place, send))
        leaving = asyncio.ensure_future(_left(receive))
        self._counts.readers += 1
        try:
            await asyncio.wait({streaming, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._counts.readers -= 1
            for task in (streaming, leaving):
                task.cancel()
            results = await asyncio.gather(streaming, leaving, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, OSError):  # the reader has gone while we sent
                raise result

    async def _stream(self, wants: _Wants, place: Place, send: Send) -> None:
        loop = asyncio.get_running_loop()
        until, told = loop.time() + STREAM_SECONDS, loop.time()
        await _say(send, b"retry: 2000\n\n")
        while not self._closing.is_set() and loop.time() < until:
            pause, text = 0.0, b""
            try:
                page = await self._tail.read(place)
                if place.is_of(page):
                    text = self._text_of(page.rows, wants, partial(place.behind, page))
                    moved = page.cursor != place.cursor
                    pause = 0.0 if page.rows or (moved and page.cursor.open is not None) else self._poll_interval
                    place = place.onward(page)
                else:
                    place = await self._cross(wants, place, send)
            except StoreUnavailable:
                pause = _OUTAGE_SECONDS
            if not text and loop.time() - told >= self._heartbeat:
                text = b": still here\nid: %b\n\n" % place.text().encode()
            if text:
                await _say(send, text)
                told = loop.time()
            if pause:
                await self._rest(pause)
        await send({"type": "http.response.body", "body": b""})

    async def _cross(self, wants: _Wants, place: Place, send: Send) -> Place:
        """Send what *place* has not seen, though the server has crashed since, and some that it has; returns the place now."""
        now = await self._tail.now()
        if not place.reached:
            await _say(send, _GAP)
            return now
        await _say(send, _AGAIN)
        late, new = place.across(now.cursor.done)
        is_late = True
        while is_late:
            page = await self._tail.part(late, now)
            rows = [row for row in page.rows if row.position <= place.reached]
            await _say(send, self._text_of(rows, wants, lambda _: place))
            late = page.cursor
            is_late = late.open is not None and late.position <= place.reached
        while new.open is not None:
            page = await self._tail.part(new, now)
            await _say(send, self._text_of(page.rows, wants, place.so_far))
            new = page.cursor
            place = place.so_far(page.rows[-1]) if page.rows else place
        return Place(new, now.incarnation, place.reached)

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)

    def _text_of(self, rows: Sequence[Row], wants: _Wants, place_of: Callable[[Row], Place]) -> bytes:
        text = b""
        for row in rows:
            if wants.matches(row.name) and wants.tenant in (None, row.tenant_id):
                kind, data = self._data_of(Event(row))
                lines = b"".join(b"data: %b\n" % line for line in _LINE_END.split(data))
                text += b"%bid: %b\n%b\n" % (kind, place_of(row).text().encode(), lines)
                self._counts.sent += 1
        return text

    def _data_of(self, event: Event) -> tuple[bytes, bytes]:
        try:
            return b"", to_structured(of_event(event, source=self._source))[1]
        except MalformedEvent as error:
            return b"event: holdfast.unreadable\n", msgspec.json.encode({"id": str(event.id), "error": error.problem})


_GAP = b'event: holdfast.gap\ndata: {"reason":"the database server has crashed: events may be missing here"}\n\n'
_AGAIN = b'event: holdfast.again\ndata: {"reason":"the database server has crashed: some events come again"}\n\n'


class _Wants:
    """What a reader asks for. Raises InvalidInput."""

    def __init__(self, query: dict[str, list[str]], only: str | None) -> None:
        patterns = [one for given in query.get("patterns", []) for one in given.split(",")]
        self.matches = Matcher(check_patterns(patterns or "**"))
        tenants = {check_tenant(one) for one in query.get("tenant", [])}
        if len(tenants) > 1:
            raise InvalidInput("tenant", "is given twice", "ask for one tenant, or for all")
        self.tenant = tenants.pop() if tenants else only
        if only is not None and self.tenant != only:
            raise _Refusal(403, "these events are not for you")


class _Refusal(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status, self.reason = status, reason


async def _refuse(send: Send, refusal: _Refusal) -> None:
    body = msgspec.json.encode({"error": refusal.reason})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += {405: [(b"allow", b"GET")], 503: [(b"retry-after", b"5")]}.get(refusal.status, [])
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _say(send: Send, text: bytes) -> None:
    if not text:
        return
    await send({"type": "http.response.body", "body": text, "more_body": True})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
