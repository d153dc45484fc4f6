"""Relay and ingest over Redis Streams: the suite that every broker passes, on a real server that is really killed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.relay.contract import IngestContract, RelayContract, ServicesContract, Taken
from tests.relay.servers import RedisServer

redis = pytest.importorskip("redis.asyncio", reason="pip install 'holdfast[redis]'")

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class RedisBroker(RedisServer):
    limit = 2**20
    forgets_repeats = False
    to_url = "redis://127.0.0.1:{port}/orders?timeout=3"
    from_url = "redis://127.0.0.1:{port}/orders?timeout=3&claim=1"
    missing_url = "redis://127.0.0.1:{port}/nowhere?create=no"
    missing_from_url = None  # the group makes its stream
    few = "prefetch=5"
    refused_url = "redis://alice:wrong-password@127.0.0.1:{port}/orders"

    async def taken(self) -> list[Taken]:
        client = redis.Redis(port=self.port)
        found = []
        for _, fields in await client.xrange("orders"):
            headers = {name.decode(): value.decode() for name, value in fields.items() if name != b"body"}
            found.append(Taken(headers["id"], headers.get("ce-partitionkey"), fields[b"body"], headers))
        await client.aclose()
        return found

    async def put(self, body: bytes, headers: Mapping[str, str], *, name: str = "order.placed") -> None:
        client = redis.Redis(port=self.port)
        for _ in range(500):
            try:
                await client.xadd("orders", {**headers, "body": body})
            except (redis.RedisError, OSError):
                await asyncio.sleep(0.02)  # it is just starting
            else:
                break
        await client.aclose()


@pytest.fixture
def broker(tmp_path: Path) -> Any:
    with RedisBroker(tmp_path / "redis") as server:
        yield server


class TestRelay(RelayContract):
    pass


class TestIngest(IngestContract):
    pass


class TestServices(ServicesContract):
    pass
