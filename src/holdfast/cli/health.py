"""The small HTTP server that tells an orchestrator whether a worker lives and is ready, and Prometheus what it does."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import msgspec

from holdfast.cli.commands import Failure
from holdfast.cli.desk import Desk
from holdfast.cli.output import without_password
from holdfast.errors import HoldfastError, MissingExtra
from holdfast.health import Health, verdict
from holdfast.stores import make_store
from holdfast.stores.inspector import make_inspector

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

    from holdfast import EventBus

_REQUEST_SECONDS = 5.0
_ANSWER_SECONDS = 5.0
_FRESH_SECONDS = 5.0
_BACKLOG_MAX = 1_000
_PHRASES = {
    200: "OK",
    404: "Not Found",
    405: "Method Not Allowed",
    501: "Not Implemented",
    503: "Service Unavailable",
}


class Answer(NamedTuple):
    """What goes back to whoever asked."""

    code: int
    content_type: str
    content: bytes


def told(code: int, body: dict[str, Any]) -> Answer:
    """An answer in JSON."""
    return Answer(code, "application/json", msgspec.json.encode(body))


class Kept:
    """An answer that takes the store some work: asked for once at a time, and kept for 5 seconds."""

    def __init__(self, ask: Callable[[], Awaitable[Answer]]) -> None:
        self._ask = ask
        self._asking = asyncio.Lock()
        self._answer: Answer | None = None
        self._fresh_until = 0.0

    async def get(self) -> Answer:
        now = asyncio.get_running_loop().time
        async with self._asking:
            if self._answer is None or now() >= self._fresh_until:
                self._answer = await self._ask()
                self._fresh_until = now() + _FRESH_SECONDS
            return self._answer


class HealthServer:
    """
    ``GET /livez``: 200 while the event loop runs. ``GET /readyz``: 200, or 503 while a store cannot be reached or a
    subscription of these buses is STALLED; the body is JSON. ``GET /metrics``: the text that Prometheus reads. The
    store is asked at most once in 5 seconds for each.

    Args:
        buses: The buses that the worker runs.
        host: Address to listen on.
        port: Port; 0 takes a free one.
    """

    def __init__(self, buses: Sequence[EventBus], host: str, port: int) -> None:
        self._buses, self._host, self.port = buses, host, port
        self._desks: list[Desk] = []
        self._server: asyncio.Server | None = None
        self._readiness, self._metrics = Kept(self._ask), Kept(self._expose)

    async def __aenter__(self) -> Self:
        try:
            self._server = await asyncio.start_server(self._serve, self._host, self.port, limit=8192)
        except OSError as error:
            raise Failure(f"cannot listen on {self._host}:{self.port}: {error.strerror}") from error
        self.port = self._server.sockets[0].getsockname()[1]
        for bus in self._buses:
            store = make_store(bus.dsn, schema=bus.schema)
            if store.is_durable:  # a store in memory cannot be seen from here, and is there as long as we are
                self._desks.append(Desk(store, *make_inspector(store)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for desk in self._desks:
            await desk.inspector.close()
            await desk.store.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
                async with asyncio.timeout(_REQUEST_SECONDS):
                    method, path = request_line(await reader.readline())
                    while (await reader.readline()).strip():
                        pass
                answer = await self.answer(method, path)
                writer.write(response(answer, with_body=method != "HEAD"))
                await writer.drain()
        finally:
            writer.close()

    async def answer(self, method: str, path: str) -> Answer:
        """What a request gets."""
        if method not in {"GET", "HEAD"}:
            return told(405, {"error": "only GET"})
        match path.partition("?")[0]:
            case "/livez":
                return told(200, {"status": "alive"})
            case "/readyz":
                return await self._readiness.get()
            case "/metrics":
                return await self._metrics.get()
            case _:
                return told(404, {"error": "there are /livez, /readyz and /metrics"})

    async def _expose(self) -> Answer:
        try:
            from holdfast.telemetry.prometheus import CONTENT_TYPE, exposition
        except MissingExtra as error:
            return told(501, {"error": str(error)})
        inspectors = {desk.store.address: desk.inspector for desk in self._desks}
        return Answer(200, CONTENT_TYPE, await exposition(self._buses, inspectors))

    async def _ask(self) -> Answer:
        names = {consumer.name for bus in self._buses for consumer in bus.consumers}
        subscriptions = []
        spools = []
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                for desk in self._desks:
                    status = await desk.inspector.status(backlog_max=_BACKLOG_MAX, retention=None)
                    subscriptions += [one for one in status.subscriptions if one.name in names]
                    spools += [spool] if (spool := desk.spool) else []
        except TimeoutError:
            return told(
                503, {"status": "UNREACHABLE", "reasons": [f"the store did not answer within {_ANSWER_SECONDS:g} s"]}
            )
        except HoldfastError as error:
            return told(503, {"status": "UNREACHABLE", "reasons": [without_password(str(error))]})
        found = verdict(subscriptions, spools=spools)
        lag = {one.name: one.lag for one in subscriptions}
        reasons = [reason.text for reason in found.reasons]
        body = {"status": found.health, "reasons": reasons, "lag": lag, "lag_counted_to": _BACKLOG_MAX}
        return told(503 if found.health is Health.STALLED else 200, body)


def request_line(line: bytes) -> tuple[str, str]:
    """Method and path. Raises ValueError where there is no HTTP request."""
    method, path, version = line.decode("ascii").split()
    if not version.startswith("HTTP/1."):
        raise ValueError(f"not HTTP/1: {version}")
    return method, path


def response(answer: Answer, *, with_body: bool) -> bytes:
    """The whole answer, after which the connection closes."""
    code, content_type, content = answer
    head = (
        f"HTTP/1.1 {code} {_PHRASES[code]}\r\nContent-Type: {content_type}\r\nContent-Length: {len(content)}\r\n"
        f"Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + (content if with_body else b"")
