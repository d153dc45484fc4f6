"""The server's clock is stepped back and forward under load."""

from __future__ import annotations

from functools import partial

from tests.chaos.acting import blocking, turn
from tests.chaos.fault import Fault, Scene, noted
from tests.chaos.servers import FAKETIME, faked_clock

_HOUR = 3600.0


async def _stepped(name: str, steps: tuple[float, ...], scene: Scene) -> None:
    """One step after the other, and back to the truth at the end: a restart, with which it began, too."""
    async with turn(scene) as server, noted(scene, name):
        try:
            with faked_clock(server) as step:
                await blocking(server.restart)
                for seconds in steps:
                    step(seconds)
                    scene.note(name, "steps", seconds=seconds)
                    await scene.sleep(scene.seconds / len(steps))
                step(0.0)
        finally:
            await blocking(server.restart)


FAULTS = tuple(
    Fault(name, "database", partial(_stepped, name, steps), (FAKETIME,))
    for name, steps in {
        "clock stepped back": (-60.0,),
        "clock stepped forward": (60.0,),
        "clock stepped by an hour, there and back": (_HOUR, -_HOUR, 0.0),
        "clock stepped back by a day and a half": (-36 * _HOUR,),
    }.items()
)
