"""The ASGI application: routes, and how pages, twins, refreshes and actions become answers."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from holdfast.dashboard.access import OneTimeToken, Role
from holdfast.dashboard.actions import ACTIONS, perform, require_allowed
from holdfast.dashboard.asking import Ask
from holdfast.dashboard.charting import lines
from holdfast.dashboard.guard import METRICS, SIGN_IN, Guard
from holdfast.dashboard.live import Streams
from holdfast.dashboard.pages import PAGES
from holdfast.dashboard.pages.overview import HOURS, sentence
from holdfast.dashboard.refusal import Refusal
from holdfast.dashboard.rendering import View, make_environment, render
from holdfast.dashboard.seal import NOTICE_SECONDS, Seal
from holdfast.dashboard.signing import Throttle, goal_of, sign_in
from holdfast.dashboard.users import Users
from holdfast.errors import (
    BusStateError,
    ConfigurationError,
    HoldfastError,
    InvalidInput,
    NotFound,
    PermissionDenied,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from holdfast.dashboard.access import Authenticate
    from holdfast.dashboard.actions import Action
    from holdfast.dashboard.board import Board
    from holdfast.dashboard.hosts import Hosts
    from holdfast.dashboard.pages import Page
    from holdfast.stores.records import Status

logger = logging.getLogger("holdfast.dashboard")

_STATIC = Path(__file__).parent / "static"

NAVIGATION = (
    ("/overview", "Overview"), ("/events", "Events"), ("/subscriptions", "Subscriptions"), ("/dead", "Dead letters"),
    ("/schedules", "Schedules"), ("/workers", "Workers"), ("/storage", "Storage"), ("/audit", "Audit"),
)  # fmt: skip


class Dashboard:
    """
    The dashboard as an ASGI application. Make one by `holdfast.dashboard.app`.

    Its connections are opened at the first request. Served by itself it closes them at the end of its lifespan; mounted
    in another application, `close` does, to be called in that one's.
    """

    def __init__(
        self,
        board: Board,
        *,
        authenticate: Authenticate | OneTimeToken | Users | None,
        seal: Seal,
        hosts: Hosts,
        secure: bool,
        metrics_token: str | None,
    ) -> None:
        self._board, self._authenticate, self._seal = board, authenticate, seal
        self._environment = make_environment()
        self._throttle = Throttle()
        self.streams = Streams()
        self._guard = Guard(
            self._routed(), board=board, authenticate=authenticate, seal=seal, hosts=hosts, secure=secure,
            refused=self._refused,
            metrics_token=metrics_token,
        )  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live_and_close(receive, send)
        else:
            await self._guard(scope, receive, send)

    async def close(self) -> None:
        """End what is under way, and close the store's connections."""
        self.streams.close()
        await self._board.close()

    async def _live_and_close(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})

    def _routed(self) -> Starlette:
        routes: list[Route | Mount] = [
            Route("/", self._home),
            Route("/find", self._find),
            Route("/samples.json", self._samples),
            Route(METRICS, self._metrics),
            Route(SIGN_IN, self._sign_in, methods=["GET", "POST"]),
            Route("/sign-out", self._sign_out, methods=["POST"]),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ]
        for path, page in PAGES.items():
            routes += [
                Route(path, partial(self._page, page)),
                Route(f"{path}.json", partial(self._twin, page)),
                Route(f"{path}/live", partial(self._live, page)),
            ]
        for action in ACTIONS.values():
            path = f"/actions/{action.verb}"
            routes.append(Route(path, partial(self._ask, action)))
            routes.append(Route(path, partial(self._do, action), methods=["POST"]))
        handlers = {Refusal: self._on_error, HoldfastError: self._on_error, HTTPException: self._on_error}
        return Starlette(routes=routes, exception_handlers=handlers)

    # Pages

    async def _home(self, request: Request) -> Response:
        return RedirectResponse(request.scope["root_path"] + "/overview", 303)

    async def _find(self, request: Request) -> Response:
        ask = asked(request)
        ask.require("event")
        return RedirectResponse(f"{request.scope['root_path']}/events/{ask.id('event')}", 303)

    async def _samples(self, request: Request) -> Response:
        """Lines for a chart: ``?hours=`` of all subscriptions together, or of ``subscription=``."""
        ask, now = asked(request), datetime.now(UTC)
        since = now - timedelta(hours=ask.number("hours", high=max(HOURS)) or min(HOURS))
        found = await self._board.inspector.samples(since)
        return as_json(lines(found, since, now, ask.text("subscription")))

    async def _metrics(self, request: Request) -> Response:  # noqa: ARG002 - there is nothing to ask
        from holdfast.telemetry.prometheus import CONTENT_TYPE

        return Response(await self._board.metrics(), headers={"content-type": CONTENT_TYPE})

    async def _page(self, page: Page, request: Request) -> Response:
        view = await page(self._board, asked(request))
        return self._html(view, await self._context(request) | {"has_twin": True}, request)

    async def _twin(self, page: Page, request: Request) -> Response:
        try:
            view = await page(self._board, asked(request))
        except HoldfastError as error:
            refusal = as_refusal(error)
            return as_json({"error": refusal.text}, refusal.status)
        return as_json(view.data)

    async def _live(self, page: Page, request: Request) -> Response:
        ask, context = asked(request), await self._context(request)

        async def fragment() -> tuple[str, str]:
            try:
                view = await page(self._board, ask)
                status = await self._board.status()
            except HoldfastError as error:
                return "trouble", self._environment.get_template("trouble.html").render(text=str(error))
            return "page", render(self._environment, view, context | standing(status), layout="live.html")

        return StreamingResponse(self.streams.stream(fragment), media_type="text/event-stream")

    # Actions

    async def _ask(self, action: Action, request: Request) -> Response:
        ask, actor = asked(request), request.state.visit.require_actor()
        await require_allowed(self._board, action, ask, actor, trying=False)
        question = await action.ask(self._board, ask)
        view = View("action", action.title, {"question": question}, {"action": action})
        return self._html(view, await self._context(request), request)

    async def _do(self, action: Action, request: Request) -> Response:
        ask, visit = asked(request), request.state.visit
        done = await perform(self._board, action, ask, visit.require_actor(), visit.form)
        answer = RedirectResponse(request.scope["root_path"] + action.back(ask), 303)
        self._tell(request, answer, done)
        return answer

    def _tell(self, request: Request, answer: Response, text: str) -> None:
        """Let the next page say *text*, once."""
        sealed = self._seal.close("notice", text[:500], seconds=NOTICE_SECONDS)
        answer.set_cookie(
            "holdfast_notice", sealed, max_age=int(NOTICE_SECONDS), path=request.scope["root_path"] or "/",
            httponly=True, samesite="strict", secure=request.url.scheme == "https",
        )  # fmt: skip

    # Signing in and out

    async def _sign_in(self, request: Request) -> Response:
        users = self._authenticate
        if not isinstance(users, Users):
            raise Refusal(404, "No such page", "Nobody signs in here with a password.")
        status, problem = 200, None
        if request.method == "POST":
            try:
                return await sign_in(request, users, self._guard, self._throttle)
            except Refusal as refusal:
                status, problem = refusal.status, f"{refusal.title}: {refusal.text}"
        view = View("sign_in", "Sign in", {"problem": problem}, {"goal": urlencode({"next": goal_of(request)})})
        return HTMLResponse(render(self._environment, view, self._bare_context(request)), status)

    async def _sign_out(self, request: Request) -> Response:
        answer = RedirectResponse(request.scope["root_path"] + "/", 303)
        self._guard.sign_out(request, answer)
        return answer

    # Answers

    def _html(self, view: View, context: dict[str, Any], request: Request) -> Response:
        answer = HTMLResponse(render(self._environment, view, context))
        if "holdfast_notice" in request.cookies:
            answer.delete_cookie("holdfast_notice", path=request.scope["root_path"] or "/")
        return answer

    async def _context(self, request: Request) -> dict[str, Any]:
        """What every page knows besides its own data."""
        status = await self._board.status()
        return self._bare_context(request) | standing(status)

    def _bare_context(self, request: Request) -> dict[str, Any]:
        visit, root = request.state.visit, request.scope.get("root_path", "")
        board = self._board
        return {
            "root": root,
            "path": request.scope["path"].removeprefix(root),
            "query": request.url.query,
            "ask": asked(request),
            "visit": visit,
            "navigation": NAVIGATION,
            "address": board.address,
            "read_only": board.read_only,
            "may_act": _may(visit, Role.OPERATOR) and not board.read_only,
            "may_destroy": _may(visit, Role.ADMIN) and not board.read_only,
            "may_edit": _may(visit, Role.ADMIN) and board.may_edit and not board.read_only,
            "signs_out": isinstance(self._authenticate, OneTimeToken | Users),
            "notice": self._seal.open("notice", request.cookies.get("holdfast_notice")),
            "status": None,
            "has_twin": False,
        }

    def _refused(self, request: Request, refusal: Refusal) -> Response:
        if request.url.path.endswith(".json"):
            return as_json({"error": f"{refusal.title}. {refusal.text}"}, refusal.status)
        view = View("refusal", refusal.title, {"text": refusal.text}, {})
        return HTMLResponse(render(self._environment, view, self._bare_context(request)), refusal.status)

    async def _on_error(self, request: Request, error: Exception) -> Response:
        return self._refused(request, as_refusal(error))


def standing(status: Status) -> dict[str, Any]:
    """What the strip at the top of a page says."""
    return {"status": status, "sentence": sentence(status)}


def asked(request: Request) -> Ask:
    """What the URL asks for, in its path too."""
    return Ask({**request.query_params, **{name: str(value) for name, value in request.path_params.items()}})


def as_json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def as_refusal(error: Exception) -> Refusal:
    """What a person is told about *error*. No error of ours has a password or a payload in it."""
    match error:
        case Refusal():
            return error
        case NotFound():
            return Refusal(404, "There is no such thing", str(error))
        case InvalidInput():
            return Refusal(400, "That cannot be asked", str(error))
        case StoreUnavailable():
            return Refusal(503, "The store cannot be reached", str(error))
        case BusStateError():
            return Refusal(409, "Not now", str(error))
        case PermissionDenied():
            return Refusal(403, "The database does not let this dashboard do that", str(error))
        case ConfigurationError():
            return Refusal(503, "The store is not set up", str(error))
        case HoldfastError():
            return Refusal(500, "The store refuses", str(error))
        case HTTPException(status_code=404):
            return Refusal(404, "No such page", "The navigation leads to those there are.")
        case _:
            return Refusal(405, "Not possible", "This address does not take such a request.")


def _may(visit: Any, role: Role) -> bool:
    return visit.actor is not None and visit.actor.role.includes(role)
