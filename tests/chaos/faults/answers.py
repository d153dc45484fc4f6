"""Requests that never arrive, are refused, or whose answer is lost: by the proxy's traps."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from tests.chaos.acting import proxy_of
from tests.chaos.fault import Fault, Scene, noted
from tests.chaos.proxy import Harm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.chaos.protocol import Request
    from tests.chaos.proxy import Link, Trap

_GROUP = "answers"
_FOR_EVER = 1 << 30
# What a request is refused with: the server is short of something, gave up, or lost against another transaction.
_CODES = ("53200", "53100", "57014", "40001", "40P01", "55P03", "58030")


def _commits(scene: Scene, share: float) -> Callable[[Link, Request], bool]:
    return lambda _, request: request.commits and scene.random.random() < share


def _any(_: Link, __: Request) -> bool:
    return True


@contextmanager
def _sprung(scene: Scene, trap: Trap, name: str) -> Iterator[None]:
    """Tell how often it has sprung, so that a run can be found out that never reached it."""
    try:
        yield
    finally:
        scene.note(name, "sprung", times=trap.sprung)


async def _commit(name: str, harm: Harm, scene: Scene) -> None:
    """A share of all commits comes to harm, publishers' and workers'."""
    async with noted(scene, name):
        with proxy_of(scene).trap(harm, _commits(scene, 0.2), times=_FOR_EVER) as trap, _sprung(scene, trap, name):
            await scene.sleep(scene.seconds)


async def _nth_once(scene: Scene) -> None:
    """Again and again, the n-th request from now is refused, n = 1, 2, 3 …"""
    name = "the n-th statement fails once"
    async with noted(scene, name):
        n, left = 0, scene.seconds
        while left > 0:
            code = scene.random.choice(_CODES)
            with proxy_of(scene).trap(Harm.REFUSE, _any, after=n, code=code) as trap, _sprung(scene, trap, name):
                await scene.sleep(pause := min(left, 0.1))
            n, left = n + 1, left - pause


async def _from_nth_on(scene: Scene) -> None:
    """Whatever is asked from the n-th request on is refused."""
    name, n, code = "statements fail from the n-th on", scene.random.randrange(20), scene.random.choice(_CODES)
    async with noted(scene, name, n=n, code=code):
        with (
            proxy_of(scene).trap(Harm.REFUSE, _any, times=_FOR_EVER, after=n, code=code) as trap,
            _sprung(scene, trap, name),
        ):
            await scene.sleep(scene.seconds)


async def _cut_anywhere(scene: Scene) -> None:
    """One request in fifty meets the end of its connection, before it, in it, or in place of its answer."""
    name = "connections cut at any statement"

    def now_and_then(_: Link, __: Request) -> bool:
        return scene.random.random() < 0.02

    harm = scene.random.choice((Harm.CUT_BEFORE, Harm.CUT_ON, Harm.LOSE_ANSWER))
    async with noted(scene, name, harm=harm.value):
        with proxy_of(scene).trap(harm, now_and_then, times=_FOR_EVER) as trap, _sprung(scene, trap, name):
            await scene.sleep(scene.seconds)


FAULTS = (
    *(
        Fault(name, _GROUP, partial(_commit, name, harm))
        for name, harm in {
            "commit cut before": Harm.CUT_BEFORE,
            "commit cut on": Harm.CUT_ON,
            "commit answer lost": Harm.LOSE_ANSWER,
            "commit answer swallowed": Harm.SWALLOW,
            "commit refused": Harm.REFUSE,
        }.items()
    ),
    Fault("the n-th statement fails once", _GROUP, _nth_once),
    Fault("statements fail from the n-th on", _GROUP, _from_nth_on),
    Fault("connections cut at any statement", _GROUP, _cut_anywhere),
)
