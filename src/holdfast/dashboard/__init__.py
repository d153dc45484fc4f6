"""The dashboard: for whoever keeps Holdfast running. Needs the extra ``web``.

``holdfast dashboard`` serves it; `app` makes it for an application of one's own::

    from starlette.applications import Starlette
    from starlette.routing import Mount

    from holdfast import dashboard

    application = Starlette(routes=[Mount("/holdfast", dashboard.app(bus, authenticate=who_asks))])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.dashboard.access import Actor, Authenticate, ProxyHeader, Role
from holdfast.dashboard.users import Users
from holdfast.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast import EventBus, SyncEventBus
    from holdfast.dashboard.access import OneTimeToken
    from holdfast.dashboard.application import Dashboard
    from holdfast.encryption import KeyProvider

__all__ = ["Actor", "Authenticate", "ProxyHeader", "Role", "Users", "app", "for_store"]


def app(
    bus: EventBus | SyncEventBus,
    *,
    authenticate: Authenticate | Users | None = None,
    hosts: Iterable[str] = (),
    redact: Iterable[str] = (),
    read_only: bool = False,
    may_edit: bool = False,
    trace_url: str | None = None,
    https: bool = False,
    secret: str | None = None,
    metrics_token: str | None = None,
) -> Dashboard:
    """
    The dashboard of the store of *bus*, as an ASGI application to be mounted or served. Does no I/O.

    It has connections of its own, opened at the first request; call its ``close`` when yours ends.

    Args:
        bus: Any bus of the store; it need not run.
        authenticate: Tells who makes a request; `Users`, `ProxyHeader`, or a function of yours, sync or async, that
            takes the ``starlette.requests.Request`` and returns an `Actor`, or None for nobody. Without it every
            request gets 403 and the reason.
        hosts: Host names that it answers to, besides those of the loopback.
        redact: What nobody sees, such as ``"payload.card.*"``.
        read_only: Nobody may do anything, whatever the role.
        may_edit: Admins may correct a dead letter's payload and have it published anew.
        trace_url: Address of a trace, with ``{trace_id}`` in it, for events with a ``traceparent``.
        https: Browsers come over HTTPS, though a proxy hands requests on as plain HTTP: cookies are marked so.
        secret: What cookies and forms are signed with, at least 32 characters; needed where several processes serve it.
            Default: a random one.
        metrics_token: Whoever sends it as a bearer token reads ``/metrics``, and nothing else. At least 32 characters.

    Raises:
        MissingExtra: Starlette or Jinja2 is not installed.
        ConfigurationError: An argument is of no use, or the bus keeps its events in memory.
    """
    return for_store(
        bus.dsn, schema=bus.schema, authenticate=authenticate, hosts=hosts, redact=redact, read_only=read_only,
        may_edit=may_edit, trace_url=trace_url, https=https, secret=secret,
        metrics_token=metrics_token, keys=bus.encryption,
    )  # fmt: skip


def for_store(
    dsn: str,
    *,
    schema: str = "holdfast",
    authenticate: Authenticate | OneTimeToken | Users | None = None,
    hosts: Iterable[str] = (),
    redact: Iterable[str] = (),
    read_only: bool = False,
    may_edit: bool = False,
    trace_url: str | None = None,
    https: bool = False,
    secret: str | None = None,
    keys: KeyProvider | None = None,
    metrics_token: str | None = None,
) -> Dashboard:
    """The dashboard of a store that is named by its DSN; else as `app`.

    Args:
        keys: Has the master keys by which payloads are shown; without it, encrypted ones are not.
    """
    try:
        from holdfast.dashboard.application import Dashboard
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "starlette", "web", "the dashboard") from error
    from holdfast.dashboard.board import Board
    from holdfast.dashboard.hosts import Hosts
    from holdfast.dashboard.redaction import Redaction
    from holdfast.dashboard.seal import Seal, check_secret
    from holdfast.spool_folder import usual_spool

    check_secret("metrics_token", metrics_token)
    board = Board(
        dsn,
        schema=schema,
        redaction=Redaction(redact),
        read_only=read_only,
        may_edit=may_edit,
        trace_url=trace_url,
        spool=usual_spool,
        keys=keys,
    )
    return Dashboard(
        board,
        authenticate=authenticate,
        seal=Seal(secret),
        hosts=Hosts(hosts),
        secure=https,
        metrics_token=metrics_token,
    )
