"""The store is away, publishers die meanwhile, and files of the dead are damaged."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

from holdfast.event import NewEvent
from holdfast.spool_format import HEADER_SIZE, encode, encode_header
from tests.chaos.acting import blocking, proxy_of, whole
from tests.chaos.fault import Fault, Scene, noted
from tests.chaos.servers import SMALL_DISK, fill, is_small_disk

if TYPE_CHECKING:
    from collections.abc import Callable

_GROUP = "spool"
_LEFT_OVER = 90_000_000  # no living process has come to such a number


async def _away(scene: Scene) -> None:
    """From the blink of an eye to three times as long as a fault may last."""
    least, most = 0.1, max(0.2, 3 * scene.seconds)
    seconds = math.exp(scene.random.uniform(math.log(least), math.log(most)))
    async with noted(scene, "store away", seconds=seconds), proxy_of(scene).refusing():
        await scene.sleep(seconds)


async def _publishers_killed_while_away(scene: Scene) -> None:
    """What they have spooled is left to whoever opens the folder next; some die as they empty it."""
    name = "publishers killed while they spool and as they drain"
    async with noted(scene, name):
        async with proxy_of(scene).refusing():
            await scene.sleep(scene.seconds)
            await _kill_one(scene, name)
            await scene.sleep(0.3)
        for _ in range(3):
            await scene.sleep(scene.random.uniform(0.0, 0.3))
            await _kill_one(scene, name)


async def _kill_one(scene: Scene, name: str) -> None:
    found = [process for process in scene.processes if process.role == "publisher" and process.is_running]
    if found:
        process = scene.random.choice(found)
        scene.note(name, "kills", pid=process.pid)
        process.kill()


async def _damaged(name: str, damage: Callable[[Scene, bytes], bytes], scene: Scene) -> None:
    """A file lies there as of a process that died in its first write: nobody was told that the event is stored."""
    if scene.spool is None or not scene.spool.is_dir():
        scene.note(name, "not run", reason="there is no spool")
        return
    event = NewEvent(uuid4(), "default", "chaos.damaged", "damaged", b"{}", None, None)
    content = damage(scene, encode_header() + encode(event))
    async with noted(scene, name):
        # Each store has a folder of its own below the one that publishers are given.
        folder = next((path for path in scene.spool.iterdir() if path.is_dir()), scene.spool)
        path = folder / f"{_LEFT_OVER + scene.random.randrange(1_000_000)}.spool"
        path.write_bytes(content)
        await scene.sleep(min(scene.seconds, 1.0))


def _torn(scene: Scene, content: bytes) -> bytes:
    return content[: scene.random.randrange(HEADER_SIZE + 1, len(content))]


def _truncated(scene: Scene, content: bytes) -> bytes:
    return content[: scene.random.randrange(HEADER_SIZE)]


def _flipped(scene: Scene, content: bytes) -> bytes:
    at = scene.random.randrange(HEADER_SIZE, len(content))
    return content[:at] + bytes([content[at] ^ 1 << scene.random.randrange(8)]) + content[at + 1 :]


async def _full(scene: Scene) -> None:
    """The disk of the spool has no room left, and the store is away: publishers must say so, and pretend nothing."""
    name = "spool's disk full"
    if scene.spool is None or not is_small_disk(scene.spool):
        scene.note(name, "not run", reason="the spool is not on a small disk of its own")
        return
    ballast = scene.spool.parent / "ballast"
    async with noted(scene, name), proxy_of(scene).refusing():
        try:
            await blocking(fill, ballast)
            await scene.sleep(scene.seconds)
        finally:
            await whole(blocking(partial(ballast.unlink, missing_ok=True)))


FAULTS = (
    Fault("store away", _GROUP, _away),
    Fault("publishers killed while they spool and as they drain", _GROUP, _publishers_killed_while_away),
    *(
        Fault(name, _GROUP, partial(_damaged, name, damage))
        for name, damage in {
            "torn spool file": _torn,
            "truncated spool file": _truncated,
            "bit-flipped spool file": _flipped,
        }.items()
    ),
    Fault("spool's disk full", _GROUP, _full, (SMALL_DISK,)),
)
