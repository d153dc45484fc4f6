"""Signing in with a password, and out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.responses import RedirectResponse

from holdfast.dashboard.refusal import Refusal

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from holdfast.dashboard.guard import Guard
    from holdfast.dashboard.users import Users

_FAILURES_MAX = 10
_FORGET_SECONDS = 300.0
_KNOWN_MAX = 10_000


class Throttle:
    """Counts failures for a while. Its memory is bounded: when it is full, the oldest are forgotten."""

    def __init__(self) -> None:
        self._failures: dict[tuple[str, str], tuple[int, float]] = {}

    def is_shut(self, who: tuple[str, str]) -> bool:
        count, until = self._failures.get(who, (0, 0.0))
        return count >= _FAILURES_MAX and time.monotonic() < until

    def failed(self, who: tuple[str, str]) -> None:
        now = time.monotonic()
        count, until = self._failures.pop(who, (0, 0.0))
        self._failures[who] = (count + 1 if now < until else 1), now + _FORGET_SECONDS
        if len(self._failures) > _KNOWN_MAX:
            del self._failures[next(iter(self._failures))]

    def succeeded(self, who: tuple[str, str]) -> None:
        self._failures.pop(who, None)


async def sign_in(request: Request, users: Users, guard: Guard, throttle: Throttle) -> Response:
    """Answer the form: the way to where the person wanted to go. Raises Refusal."""
    form = request.state.visit.form
    name, peer = form.get("name", ""), request.client.host if request.client else ""
    who = name.casefold()[:255], peer
    if throttle.is_shut(who):
        raise Refusal(429, "Too many attempts", "wait five minutes and try again.")
    actor = await users.check(name, form.get("password", ""))
    if actor is None:
        throttle.failed(who)
        raise Refusal(403, "Not signed in", "name or password is wrong.")
    throttle.succeeded(who)
    answer = RedirectResponse(request.scope["root_path"] + goal_of(request), 303)
    guard.sign_in(request, answer, actor.name)
    return answer


def goal_of(request: Request) -> str:
    """Where to go after signing in: a path of ours and nothing else."""
    found = request.query_params.get("next", "")
    parts = urlsplit(found)
    is_ours = found.startswith("/") and not found.startswith(("//", "/\\")) and not parts.netloc and not parts.scheme
    return found if is_ours and found.isprintable() and "\\" not in found else "/"
