"""Webhooks in: an ASGI application that stores what others send, and answers when it is stored."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.counts import InboxCounts
from holdfast.errors import (
    ConfigurationError,
    HoldfastError,
    IdConflict,
    InvalidEvent,
    InvalidSignature,
    PayloadTooLarge,
    QuotaExceeded,
)
from holdfast.names import shown
from holdfast.relay.senders import CloudEvents, GitHub, Sender, Stripe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from holdfast import EventBus

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

__all__ = ["CloudEvents", "GitHub", "Inbox", "Sender", "Stripe"]

logger = logging.getLogger("holdfast.inbox")

_SOURCE = re.compile(r"[A-Za-z0-9_-]{1,60}")
_PLACE = re.compile(r"/ingest/([^/]+)/?")
_RETRY_SECONDS = 5
_NOBODY = "?"  # no name of a source
_REASONS = {
    400: "malformed", 401: "signature", 404: "no such source", 405: "no POST", 408: "timeout", 409: "conflict",
    413: "too large", 429: "quota", 503: "not now",
}  # fmt: skip


class Inbox:
    """
    ``POST /ingest/{source}``: a webhook becomes an event, which is durable before the answer.

    An ASGI application, to be served by itself or mounted in another one; it needs no package but a server. Answers:

    ====  ======================================================================================
    200   stored, or stored before; in the spool where the store is away
    400   the sender is known, and the webhook cannot be an event: the text says why
    401   the signature is missing or wrong, or its time is out of the window
    404   no such source
    405   not a POST
    408   the body did not come within *timeout*
    409   the id is stored already with other content
    413   more than *limit* bytes, or than the bus's ``max_payload``
    429   the tenant has published as much as the bus's ``quota`` lets in: send it again later
    503   it cannot be stored now, or nobody can say whether it was: send it again, which is safe
    ====  ======================================================================================

    Args:
        bus: Where events are published; it need not run.
        sources: Senders by the name that is in the URL and, for GitHub and Stripe, begins their events' names.
        limit: Most bytes of a body.
        timeout: Seconds for a body to come.
        now: The clock that signed times are compared with: seconds since 1970.

    Raises:
        ConfigurationError: There is no source, or a name is none.
    """

    def __init__(
        self, bus: EventBus, sources: Mapping[str, Sender], *, limit: int = 2**20, timeout: float = 30.0,
        now: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        if not sources:
            raise ConfigurationError("an inbox without sources takes nothing: give sources={name: GitHub(secret)}")
        for name in sources:
            if _SOURCE.fullmatch(name) is None:
                raise ConfigurationError(f"{shown(name)} is no name of a source: use A-Z a-z 0-9 _ -, at most 60")
        self.bus, self._sources, self._limit, self._timeout, self._now = bus, dict(sources), limit, timeout, now
        known = bus.inbox_counts
        self._counts = {name: known.setdefault(name, InboxCounts(_REASONS.values())) for name in sources}
        self._counts[_NOBODY] = known.setdefault(_NOBODY, InboxCounts([_REASONS[404]]))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live_and_close(receive, send)
        elif scope["type"] == "http":
            try:
                status, content = await self._answer(scope, receive)
            except _Gone:
                return
            await _respond(send, status, content)
        else:
            raise ConfigurationError(f"an inbox answers HTTP, not {scope['type']}")

    async def _live_and_close(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.bus.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, dict[str, Any]]:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        place = _PLACE.fullmatch(path)
        source = place[1] if place and place[1] in self._sources else _NOBODY
        status, content = await self._result(source, scope, receive)
        _count(self._counts[source], status, content)
        return status, content

    async def _result(self, source: str, scope: Scope, receive: Receive) -> tuple[int, dict[str, Any]]:
        sender, headers = self._sources.get(source), _headers_of(scope)
        if sender is None:
            return 404, {"error": "there is no such source"}
        if scope["method"] != "POST":
            return 405, {"error": "webhooks are sent by POST"}
        try:
            body = await self._body(headers, receive)
        except TimeoutError:
            return 408, {"error": f"the body did not come within {self._timeout:g} s"}
        if body is None:
            return self._refused(source, 413, f"the body has more than {self._limit} bytes")
        try:
            return await self._store(source, sender, headers, body)
        except InvalidSignature as error:
            return self._refused(source, 401, str(error))
        except PayloadTooLarge as error:
            return self._refused(source, 413, str(error))
        except InvalidEvent as error:
            return self._refused(source, 400, str(error))
        except IdConflict as error:
            return self._refused(source, 409, str(error))
        except QuotaExceeded as error:
            status, content = self._refused(source, 429, str(error))
            return status, content | {"retry_after": math.ceil(error.retry_after)}
        except HoldfastError as error:
            logger.error("a webhook of %s is not stored, its sender shall repeat it: %s", source, error)  # noqa: TRY400
            return 503, {"error": "it cannot be stored now; send it again", "retry_after": _RETRY_SECONDS}

    async def _body(self, headers: Mapping[str, str], receive: Receive) -> bytes | None:
        """The body; None where it is too long. Raises TimeoutError."""
        said = headers.get("content-length", "0")
        if not said.isdecimal() or int(said) > self._limit:
            return None
        body = bytearray()
        async with asyncio.timeout(self._timeout):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _Gone
                body += message.get("body", b"")
                if len(body) > self._limit:
                    return None
                if not message.get("more_body", False):
                    return bytes(body)

    async def _store(
        self, source: str, sender: Sender, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, Any]]:
        item = sender.item(source, headers, body, self._now())
        try:
            published = await self.bus.publish(**item)
        except IdConflict as error:
            if not sender.repeats_may_differ:
                raise
            return 200, {"event_id": str(error.event_id), "deduplicated": True, "where": "store"}
        return 200, {
            "event_id": str(published.event_id),
            "deduplicated": published.deduplicated,
            "where": published.where,
        }

    def _refused(self, source: str, status: int, reason: str) -> tuple[int, dict[str, Any]]:
        logger.warning("a webhook to %s is refused with %d: %s", source, status, reason)
        return status, {"error": reason}


def _count(counts: InboxCounts, status: int, content: Mapping[str, Any]) -> None:
    if status != 200:
        counts.refused[_REASONS[status]] += 1
    elif content["deduplicated"]:
        counts.duplicates += 1
    elif content["where"] == "store":
        counts.stored += 1
    else:
        counts.spooled += 1


class _Gone(Exception):
    """The sender has left before its body had come."""


def _headers_of(scope: Scope) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw, value in scope["headers"]:
        name, text = raw.decode("latin-1").lower(), value.decode("latin-1")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers


async def _respond(send: Send, status: int, content: dict[str, Any]) -> None:
    body = msgspec.json.encode(content)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 405:
        headers.append((b"allow", b"POST"))
    if "retry_after" in content:
        headers.append((b"retry-after", str(content["retry_after"]).encode()))
    if status in {408, 413}:
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
