"""Three servers of NATS with JetStream, which replicate: each of them can be stopped, killed, or cut off from the others."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import nats
from nats.aio.client import Client

from tests.relay.servers import Server, free_port, program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from nats.js import JetStreamContext
    from nats.js.api import ConsumerInfo, StreamInfo

NODES = 3
LIMIT = 262_144
"""Bytes that no message may have."""


class Node(Server):
    """One server of the cluster."""

    def __init__(self, folder: Path, number: int, routes: list[int]) -> None:
        super().__init__(folder)
        self._number, self._routes = number, routes
        self.configure()

    def configure(self, *, cut_off: bool = False) -> None:
        """Write its settings. *cut_off*: no other server is let in, nor asked."""
        login = "route:another" if cut_off else "route:same"
        name, _, password = login.partition(":")
        routes = [] if cut_off else [f'"nats-route://{login}@127.0.0.1:{port}"' for port in self._routes]
        (self.folder / "nats.conf").write_text(
            f'server_name: "n{self._number}"\nlisten: "127.0.0.1:{self.port}"\nmax_payload: {LIMIT}\n'
            f'jetstream {{ store_dir: "{self.folder / "data"}", max_memory_store: 64MB, max_file_store: 2GB }}\n'
            f'cluster {{ name: "tests", listen: "127.0.0.1:{self._routes[self._number]}", routes: [{", ".join(routes)}],\n'
            f"  authorization {{ user: {name}, password: {password}, timeout: 1 }} }}\n"
        )

    def reload(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGHUP)

    def command(self) -> list[str]:
        return [program("nats-server", "/usr/sbin/nats-server"), "-c", str(self.folder / "nats.conf")]

    def is_ready(self) -> bool:
        return self._answers(b"", b"INFO")


class NatsCluster:
    """Three nodes; a stream with three replicas goes on while two of them are there."""

    def __init__(self, folder: Path) -> None:
        routes = [free_port() for _ in range(NODES)]
        self.nodes = [Node(folder / f"n{number}", number, routes) for number in range(NODES)]
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as running:
            for node in self.nodes:
                running.enter_context(node)
            self._running = running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def address(self, stream: str, options: str = "") -> str:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"nats://{hosts}/{stream}?timeout=2{options and '&'}{options}"

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """Of any node that is there."""
        client = Client()
        await client.connect(
            [f"nats://127.0.0.1:{node.port}" for node in self.nodes], error_cb=_quiet, connect_timeout=2
        )
        try:
            yield client
        finally:
            await client.close()

    async def heal(self, stream: str | None = None) -> None:
        """Every node is there, and they have a leader between them; of *stream* and its consumers each has all."""
        for node in self.nodes:
            node.configure()
            node.start()
            node.thaw()
            node.reload()
        async with self.client() as client:
            await _until_answered(client, "$JS.API.INFO")
            if stream is not None:
                await _until_whole(client.jetstream(), stream)

    async def stream(self, name: str) -> dict[str, Any]:
        """What the cluster says about a stream."""
        async with self.client() as client:
            return await _until_answered(client, f"$JS.API.STREAM.INFO.{name}", wanted="cluster")

    async def leader(self, stream: str) -> int:
        """The node that leads a stream."""
        return int((await self.stream(stream))["cluster"]["leader"].removeprefix("n"))

    async def step_down(self, stream: str) -> None:
        """Its leader is to be another."""
        async with self.client() as client:
            await client.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{stream}", b"", timeout=5)


async def _until_answered(client: Client, subject: str, *, wanted: str = "type") -> dict[str, Any]:
    deadline = time.monotonic() + 30
    found: dict[str, Any] = {}
    while time.monotonic() < deadline:
        try:
            found = json.loads((await client.request(subject, b"", timeout=2)).data)
        except (nats.errors.Error, TimeoutError):
            found = {"error": "no answer"}
        if "error" not in found and found.get(wanted):
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"{subject}: {found}")


async def _until_whole(context: JetStreamContext, stream: str) -> None:
    """A node that has just come back lacks what it missed, and is nobody's majority before it has got that."""
    async with asyncio.timeout(60):
        while True:
            try:
                parts = [await context.stream_info(stream), *await context.consumers_info(stream)]
            except (nats.errors.Error, nats.js.errors.APIError):
                parts = []
            if parts and all(map(_is_whole, parts)):
                return
            await asyncio.sleep(0.05)


def _is_whole(part: StreamInfo | ConsumerInfo) -> bool:
    replicas = [] if part.cluster is None else part.cluster.replicas or []
    return len(replicas) == NODES - 1 and all(one.current and not one.offline for one in replicas)


async def _quiet(error: Exception) -> None:
    """The client would print it."""
