"""The door: what every request passes before any page sees it. Whatever is not let in is refused."""

from __future__ import annotations

import hashlib
import inspect
import secrets
from dataclasses import dataclass
from hmac import compare_digest
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from holdfast.dashboard.access import Actor, OneTimeToken
from holdfast.dashboard.actions import recorded_as
from holdfast.dashboard.hosts import is_same_origin
from holdfast.dashboard.refusal import Refusal
from holdfast.dashboard.seal import SESSION_SECONDS
from holdfast.dashboard.users import Users

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from holdfast.dashboard.access import Authenticate
    from holdfast.dashboard.board import Board
    from holdfast.dashboard.hosts import Hosts
    from holdfast.dashboard.seal import Seal

SIGN_IN = "/sign-in"
STATIC = "/static/"
METRICS = "/metrics"

_METHODS = ("GET", "HEAD", "POST")
_FORM = "application/x-www-form-urlencoded"
_FORM_BYTES_MAX = 8 * 2**20
_FIELDS_MAX = 100

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

NO_AUTHENTICATE = (
    "This dashboard was mounted without authenticate=, so it lets nobody in: give "
    "holdfast.dashboard.app(bus, authenticate=...) a function that tells who makes a request."
)


@dataclass(frozen=True, slots=True)
class Visit:
    """A request that was let in. `form`: the fields of a POST; `csrf`: what its forms must carry."""

    actor: Actor | None
    csrf: str
    form: dict[str, str]

    def require_actor(self) -> Actor:
        assert self.actor is not None, "the guard lets nobody else go on"
        return self.actor


class Guard:
    """
    Middleware that checks host, actor, origin and token, and sets the headers of every answer.

    Args:
        app: What is guarded; finds a `Visit` in ``request.state.visit``.
        board: Where refused actions are written down.
        authenticate: Tells who asks; None lets nobody in.
        seal: Signs cookies and tokens.
        hosts: The names that are answered.
        secure: Whether browsers come over HTTPS even where this process sees plain HTTP.
        refused: Makes the page for a refusal.
        metrics_token: Whoever sends it as a bearer token may read the metrics, and nothing else.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        board: Board,
        authenticate: Authenticate | OneTimeToken | Users | None,
        seal: Seal,
        hosts: Hosts,
        secure: bool,
        refused: Callable[[Request, Refusal], Response],
        metrics_token: str | None,
    ) -> None:
        self._app, self._board, self._authenticate = app, board, authenticate
        self._seal, self._hosts, self._secure, self._refused = seal, hosts, secure, refused
        self._metrics_token = metrics_token
        # Cookies are shared by all ports of a host: two dashboards side by side must not take each other's.
        mark = hashlib.sha256(board.address.encode()).hexdigest()[:8]
        self.session_cookie, self._browser_cookie = f"holdfast_session_{mark}", f"holdfast_browser_{mark}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        cookies: list[str] = []
        send = _with_headers(send, cookies, cached=_path_of(request).startswith(STATIC))
        request.state.visit = Visit(None, "", {})
        try:
            answer = await self._enter(request, cookies)
        except Refusal as refusal:
            answer = self._refused(request, refusal)
        await (self._app if answer is None else answer)(scope, receive, send)

    async def _enter(self, request: Request, cookies: list[str]) -> Response | None:
        """Let the request in (None), or answer it. Raises Refusal."""
        if not self._hosts.allows(request.headers.get("host", "")):
            raise Refusal(
                400, "Unknown host", "This dashboard does not answer to that name. Name it with --host-name (hosts=)."
            )
        if request.method not in _METHODS:
            raise Refusal(405, "Not possible", "Only GET and POST are answered.")
        if _path_of(request).startswith(STATIC):
            return None
        if _path_of(request) == METRICS and self._reads_metrics(request):
            return None
        if self._authenticate is None:
            raise Refusal(403, "Nobody is let in", NO_AUTHENTICATE)
        way = self._authenticate
        if isinstance(way, OneTimeToken) and "token" in request.query_params and request.method == "GET":
            return self._redeemed(request, way)
        actor = await self._actor(request)
        browser = self._browser(request, cookies)
        form = await _form_of(request) if request.method == "POST" else {}
        csrf = self._seal.mark("csrf", f"{browser}\0{actor.name if actor else ''}")
        request.state.visit = Visit(actor, csrf, form)
        if actor is None and _path_of(request) != SIGN_IN:
            return self._turned_away(request)
        if request.method == "POST" and (reason := _forged(request, form, csrf)) is not None:
            if actor is not None:
                target = request.query_params.get("subscription", "-")[:200].replace("\0", "")
                await self._board.refuse(actor, recorded_as(_path_of(request)), target, reason)
            raise Refusal(403, "Not done", f"{reason}: go back, reload the page and try again.")
        return None

    def _reads_metrics(self, request: Request) -> bool:
        wanted, said = self._metrics_token, request.headers.get("authorization", "")
        return wanted is not None and compare_digest(said.encode(), f"Bearer {wanted}".encode())

    async def _actor(self, request: Request) -> Actor | None:
        authenticate = self._authenticate
        if isinstance(authenticate, OneTimeToken | Users):
            name = self._seal.open("session", request.cookies.get(self.session_cookie))
            return None if name is None else authenticate.actor(name)
        assert authenticate is not None
        found = authenticate(request)
        return await found if inspect.isawaitable(found) else found

    def _redeemed(self, request: Request, way: OneTimeToken) -> Response:
        if not way.redeem(request.query_params["token"]):
            raise Refusal(403, "This URL does not work any more", way.how)
        rest = urlencode([(name, value) for name, value in request.query_params.multi_items() if name != "token"])
        answer = RedirectResponse(request.scope["root_path"] + _path_of(request) + (f"?{rest}" if rest else ""), 303)
        self.sign_in(request, answer, way.actor_name)
        return answer

    def sign_in(self, request: Request, answer: Response, name: str) -> None:
        """Let *answer* give the browser the cookie that says who it belongs to."""
        sealed = self._seal.close("session", name, seconds=SESSION_SECONDS)
        answer.headers.append("set-cookie", self._cookie(request, self.session_cookie, sealed, same_site="Lax"))

    def sign_out(self, request: Request, answer: Response) -> None:
        """Let *answer* take that cookie away."""
        cookie = self._cookie(request, self.session_cookie, "", same_site="Lax")
        answer.headers.append("set-cookie", f"{cookie}; Max-Age=0")

    def _browser(self, request: Request, cookies: list[str]) -> str:
        """What this browser is told apart by; forms sent by any other are refused."""
        if found := request.cookies.get(self._browser_cookie):
            return found
        fresh = secrets.token_urlsafe(16)
        cookies.append(self._cookie(request, self._browser_cookie, fresh, same_site="Strict"))
        return fresh

    def _cookie(self, request: Request, name: str, value: str, *, same_site: str) -> str:
        secure = "; Secure" if self._secure or request.url.scheme == "https" else ""
        return f"{name}={value}; Path={request.scope['root_path'] or '/'}; HttpOnly; SameSite={same_site}{secure}"

    def _turned_away(self, request: Request) -> Response:
        way = self._authenticate
        if isinstance(way, Users) and request.method == "GET" and _is_for_people(_path_of(request)):
            query = f"?{request.url.query}" if request.url.query else ""
            goal = urlencode({"next": _path_of(request) + query})
            return RedirectResponse(f"{request.scope['root_path']}{SIGN_IN}?{goal}", 303)
        how = way.how if isinstance(way, OneTimeToken | Users) else "Whoever runs this dashboard does not know you."
        raise Refusal(401, "You are not signed in", how)


def _forged(request: Request, form: dict[str, str], csrf: str) -> str | None:
    """Why a POST cannot be believed to come from a form of ours."""
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return "the form was sent by another site"
    origin = request.headers.get("origin")
    if origin is not None and not is_same_origin(origin, request.headers["host"]):
        return "the form was sent by another origin"
    if not compare_digest(form.get("csrf", "").encode(), csrf.encode()):
        return "the form is not of this session"
    return None


async def _form_of(request: Request) -> dict[str, str]:
    """The fields of a url-encoded form, of bounded size. Raises Refusal."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise Refusal(415, "Not a form", f"Forms are sent as {_FORM}.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _FORM_BYTES_MAX:
            raise Refusal(413, "Too much", f"A form may have {_FORM_BYTES_MAX:,} bytes.")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="strict"))
    except ValueError:
        raise Refusal(400, "Not a form", "The fields cannot be read.") from None


def _with_headers(send: Send, cookies: list[str], *, cached: bool) -> Callable[[Message], Awaitable[None]]:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers: Any = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers["Cache-Control"] = "public, max-age=3600" if cached else "no-store"
            for cookie in cookies:
                headers.append("set-cookie", cookie)
        await send(message)

    return sending


def _is_for_people(path: str) -> bool:
    return path != METRICS and not path.endswith((".json", "/live"))


def _path_of(request: Request) -> str:
    """The path below the place where the dashboard is mounted."""
    path: str = request.scope["path"]
    return path.removeprefix(request.scope.get("root_path", ""))
