"""The way to the server is slow, lossy, cut, or swallows everything."""

from __future__ import annotations

import asyncio
import os
import subprocess
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from tests.chaos.acting import blocking, proxy_of, server_of
from tests.chaos.fault import Fault, Need, Scene, find_program, noted

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.chaos.proxy import Proxy

_GROUP = "network"
_STORM = 100
_TABLE = "holdfast_chaos"


async def _weather(name: str, of: Callable[[Proxy], AbstractContextManager[object]], scene: Scene) -> None:
    async with noted(scene, name):
        with of(proxy_of(scene)):
            await scene.sleep(scene.seconds)


async def _cut_often(scene: Scene) -> None:
    async with noted(scene, "connections reset"):
        left = scene.seconds
        while left > 0:
            scene.note("connections reset", "resets", count=proxy_of(scene).cut(lambda _: scene.random.random() < 0.7))
            await scene.sleep(pause := min(left, scene.random.uniform(0.05, 0.4)))
            left -= pause


async def _refused(scene: Scene) -> None:
    async with noted(scene, "connections refused"), proxy_of(scene).refusing():
        await scene.sleep(scene.seconds)


async def _storm(scene: Scene) -> None:
    """Everybody is cut and comes again, in the midst of a hundred others that come and go."""

    async def come_and_go() -> None:
        while True:
            try:
                connection = await psycopg.AsyncConnection.connect(proxy_of(scene).dsn(), connect_timeout=5)
                await connection.close()
            except psycopg.OperationalError:
                await asyncio.sleep(0.05)

    async with noted(scene, "connection storm"):
        proxy_of(scene).cut()
        storm = [asyncio.ensure_future(come_and_go()) for _ in range(_STORM)]
        try:
            await scene.sleep(scene.seconds)
        finally:
            for one in storm:
                one.cancel()
            await asyncio.gather(*storm, return_exceptions=True)


# ---- by the kernel, in a network namespace of our own


def own_network() -> None:
    """
    Move this process, which must be root's, into a network of its own: only itself is on it. To be called before there
    are threads; what it starts from then on is on that network too.
    """
    import ctypes

    clone_newnet = 0x40000000
    if ctypes.CDLL(None, use_errno=True).unshare(clone_newnet):
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def has_own_network() -> bool:
    """Whether packets may be dropped here without harm to others: root's, and there is no way out."""
    interfaces = [line.split(":")[0].strip() for line in Path("/proc/self/net/dev").read_text().splitlines()[2:]]
    return os.geteuid() == 0 and interfaces == ["lo"]


async def _dropped(name: str, verdict: str, scene: Scene) -> None:
    """The kernel drops packets between the proxy and the server: retransmissions, and no FIN when a process dies."""
    port, program = server_of(scene).port, find_program("nft")
    assert program is not None

    def rules(*commands: str) -> None:
        subprocess.run([program, "-f", "-"], input="\n".join(commands), text=True, check=True, capture_output=True)

    async with noted(scene, name):
        try:
            await blocking(
                rules,
                f"add table inet {_TABLE}",
                f"add chain inet {_TABLE} input {{ type filter hook input priority 0; }}",
                f"add rule inet {_TABLE} input tcp dport {port} {verdict}",
                f"add rule inet {_TABLE} input tcp sport {port} {verdict}",
            )
            await scene.sleep(scene.seconds)
        finally:
            await blocking(rules, f"add table inet {_TABLE}", f"delete table inet {_TABLE}")


_OWN_NETWORK = Need("nft", "nftables", "a network namespace of its own", has_own_network)

FAULTS = (
    *(
        Fault(name, _GROUP, partial(_weather, name, of))
        for name, of in {
            "delay of 50 ms": lambda proxy: proxy.slow(0.05),
            "delay of 200 ms": lambda proxy: proxy.slow(0.2),
            "loss of 5 %": lambda proxy: proxy.lossy(0.05),
            "loss of 30 %": lambda proxy: proxy.lossy(0.3),
            "black hole": lambda proxy: proxy.black_hole(),
            "black hole, then reset": lambda proxy: proxy.black_hole(cut=True),
            "half-open without FIN": lambda proxy: proxy.half_open(),
        }.items()
    ),
    Fault("connections reset", _GROUP, _cut_often),
    Fault("connections refused", _GROUP, _refused),
    Fault("connection storm", _GROUP, _storm),
    *(
        Fault(name, _GROUP, partial(_dropped, name, verdict), (_OWN_NETWORK,))
        for name, verdict in {
            "packets dropped by the kernel": "drop",
            "a fifth of the packets dropped by the kernel": "numgen random mod 5 0 drop",
        }.items()
    ),
)
