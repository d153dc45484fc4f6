"""Processes are killed, stopped, and asked to end. The scene's keeper starts others in their place."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from tests.chaos.fault import Fault, Process, Scene, noted

if TYPE_CHECKING:
    from collections.abc import Sequence

_GROUP = "workers"
_BOTH = frozenset({"postgres", "sqlite"})


def _running(scene: Scene, role: str) -> Sequence[Process]:
    return [process for process in scene.processes if process.role == role and process.is_running]


def _one(scene: Scene, role: str) -> Process | None:
    found = _running(scene, role)
    return scene.random.choice(found) if found else None


async def _kill(name: str, role: str, scene: Scene) -> None:
    """One process after the other, at any moment."""
    async with noted(scene, name):
        left = scene.seconds
        while left > 0:
            if process := _one(scene, role):
                scene.note(name, "kills", pid=process.pid)
                process.kill()
            await scene.sleep(pause := min(left, scene.random.uniform(0.2, 1.5)))
            left -= pause


async def _worker_killed(scene: Scene) -> None:
    await _kill("worker killed", "worker", scene)


async def _publisher_killed(scene: Scene) -> None:
    await _kill("publisher killed", "publisher", scene)


async def _all_killed(scene: Scene) -> None:
    """All workers at once: nobody is there to take over until new ones come."""
    async with noted(scene, "all workers killed"):
        for process in _running(scene, "worker"):
            process.kill()


async def _stopped(name: str, role: str, seconds: float, scene: Scene) -> None:
    process = _one(scene, role)
    if process is None:
        return
    async with noted(scene, name, pid=process.pid, seconds=seconds):
        process.pause()
        try:
            await scene.sleep(seconds)
        finally:
            with suppress(ProcessLookupError):
                process.resume()


async def _worker_stopped_past_lease(scene: Scene) -> None:
    """It comes back as a zombie: what it does under its lost lease must have no effect."""
    await _stopped("worker stopped past its lease", "worker", max(scene.seconds, 5.0), scene)


async def _worker_stopped_shortly(scene: Scene) -> None:
    await _stopped("worker stopped for a moment", "worker", scene.random.uniform(0.2, 1.0), scene)


async def _publisher_stopped(scene: Scene) -> None:
    await _stopped("publisher stopped", "publisher", scene.seconds, scene)


async def _terminated(scene: Scene) -> None:
    """SIGTERM in mid-batch; half of them are told twice."""
    if (process := _one(scene, "worker")) is None:
        return
    async with noted(scene, "worker terminated", pid=process.pid):
        process.terminate()
        if scene.random.random() < 0.5:
            await scene.sleep(scene.random.uniform(0.05, 0.5))
            if process.is_running:
                with suppress(ProcessLookupError):
                    process.terminate()
        await scene.sleep(scene.seconds)


async def _worker_flickers(scene: Scene) -> None:
    """Two workers, each stopped while the other runs: keys change hands all the time."""
    if len(workers := _running(scene, "worker")) < 2:
        return
    async with noted(scene, "two workers by turns", pids=[worker.pid for worker in workers[:2]]):
        left = scene.seconds
        while left > 0:
            worker = scene.random.choice(workers[:2])
            with suppress(ProcessLookupError):
                worker.pause()
            try:
                await scene.sleep(pause := min(left, scene.random.uniform(0.05, 3.0)))
            finally:
                with suppress(ProcessLookupError):
                    worker.resume()
            left -= pause


FAULTS = (
    Fault("worker killed", _GROUP, _worker_killed, stores=_BOTH),
    Fault("all workers killed", _GROUP, _all_killed, stores=_BOTH),
    Fault("publisher killed", _GROUP, _publisher_killed, stores=_BOTH),
    Fault("worker stopped past its lease", _GROUP, _worker_stopped_past_lease, stores=_BOTH),
    Fault("worker stopped for a moment", _GROUP, _worker_stopped_shortly, stores=_BOTH),
    Fault("publisher stopped", _GROUP, _publisher_stopped, stores=_BOTH),
    Fault("worker terminated", _GROUP, _terminated, stores=_BOTH),
    Fault("two workers by turns", "order", _worker_flickers, stores=_BOTH),
)
