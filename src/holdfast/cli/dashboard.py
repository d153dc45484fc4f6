"""Serving the dashboard."""

from __future__ import annotations

import logging
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.commands import Failure, WrongUsage
from holdfast.cli.desk import require_file
from holdfast.cli.options import default_actor, store_options
from holdfast.cli.worker import OneLine
from holdfast.errors import MissingExtra

if TYPE_CHECKING:
    import uvicorn

    from holdfast.cli.options import Target
    from holdfast.dashboard.access import OneTimeToken, ProxyHeader
    from holdfast.dashboard.application import Dashboard
    from holdfast.dashboard.users import Users

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_ROLES = ("viewer", "operator", "admin")


@click.command("dashboard", short_help="Serve the dashboard.")
@store_options
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8421, show_default=True, type=click.IntRange(0, 65_535), help="Port; 0: a free one.")
@click.option("--host-name", "host_names", multiple=True, metavar="NAME", help="Answer to this name, too; repeatable.")
@click.option(
    "--users", "users_file", metavar="FILE", type=click.Path(dir_okay=False), help="Who may sign in: name:role:hash."
)
@click.option("--proxy-header", metavar="HEADER", help="Trust the name that a proxy puts into this header.")
@click.option("--proxy-role-header", metavar="HEADER", help="And the role in this one.")
@click.option("--proxy-role", default="viewer", show_default=True, type=click.Choice(_ROLES), help="Role without it.")
@click.option("--proxy", "proxies", multiple=True, metavar="ADDRESS", help="Where that proxy is. [default: loopback]")
@click.option("--https", is_flag=True, help="Browsers come over HTTPS, through a proxy: mark cookies so.")
@click.option("--redact", multiple=True, metavar="PATH", help="Never show this, as payload.card.*; repeatable.")
@click.option("--read-only", is_flag=True, help="Nobody may do anything.")
@click.option("--may-edit", is_flag=True, help="Admins may correct a dead letter's payload.")
@click.option("--trace-url", metavar="URL", help="Address of a trace, with {trace_id} in it.")
@click.option(
    "--hash-password", "new_user", metavar="NAME", help="Ask for a password, print NAME's line for --users, and end."
)
@click.option("--role", default="viewer", show_default=True, type=click.Choice(_ROLES), help="For --hash-password.")
def dashboard_command(
    target: Target, host: str, port: int, new_user: str | None, role: str, host_names: tuple[str, ...],
    redact: tuple[str, ...], read_only: bool, may_edit: bool, trace_url: str | None, https: bool, **who: Any,
) -> None:  # fmt: skip
    """
    Serve the dashboard. On the loopback it lets in whoever opens the URL that it prints, once.

    Other addresses need --users, or HOLDFAST_DASHBOARD_USERS with the same lines, or --proxy-header.
    HOLDFAST_DASHBOARD_SECRET keeps people signed in over a restart; whoever sends HOLDFAST_DASHBOARD_METRICS_TOKEN as a
    bearer token reads /metrics.
    """
    if new_user is not None:
        print_user(new_user, role)
        return
    authenticate = way_in(host, **who)
    require_file(target.dsn)
    from holdfast.dashboard import for_store
    from holdfast.encryption import MasterKeys

    dashboard = for_store(
        target.dsn, schema=target.schema, authenticate=authenticate, hosts=host_names, redact=redact,
        read_only=read_only, may_edit=may_edit, trace_url=trace_url, https=https,
        secret=os.environ.get("HOLDFAST_DASHBOARD_SECRET") or None,
        metrics_token=os.environ.get("HOLDFAST_DASHBOARD_METRICS_TOKEN") or None, keys=MasterKeys.from_environment(),
    )  # fmt: skip
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    server, listening = server_of(dashboard), listen(host, port)
    click.echo(f"Dashboard of {target}")
    click.echo(f"Open {url_of(listening, authenticate)}")
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listening])


def print_user(name: str, role: str) -> None:
    from holdfast.dashboard.users import Users, hash_password

    password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    line = f"{name}:{role}:{hash_password(password)}"
    Users(line)  # a name that no users file can hold is an error now
    click.echo(line)


def way_in(
    host: str, *, users_file: str | None, proxy_header: str | None, proxy_role_header: str | None, proxy_role: str,
    proxies: tuple[str, ...],
) -> OneTimeToken | ProxyHeader | Users:  # fmt: skip
    """How people get in. Raises WrongUsage where the address is open to others and no way is configured, or two are."""
    from holdfast.dashboard.access import Actor, OneTimeToken, ProxyHeader, Role
    from holdfast.dashboard.users import Users

    users = Users.from_file(users_file) if users_file else Users.from_environment(os.environ)
    if users is not None and proxy_header is not None:
        raise WrongUsage("--proxy-header and users with passwords exclude each other: give one of them")
    if users is not None:
        return users
    if proxy_header is not None:
        more = {"proxies": proxies} if proxies else {}
        return ProxyHeader(proxy_header, role_header=proxy_role_header, role=Role(proxy_role), **more)
    if host not in _LOOPBACK:
        raise WrongUsage(
            f"{host} can be reached by others, and nothing says who may come in: give --users or --proxy-header, "
            f"or listen on 127.0.0.1"
        )
    return OneTimeToken(Actor(default_actor(), Role.ADMIN))


def listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise Failure(f"cannot listen on {host}:{port}: {error.strerror or error}") from error


def url_of(listening: socket.socket, authenticate: object) -> str:
    from holdfast.dashboard.access import OneTimeToken

    host, port = listening.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    once = f"?token={authenticate.token}   (it works once)" if isinstance(authenticate, OneTimeToken) else ""
    return f"http://{name}:{port}/{once}"


def server_of(dashboard: Dashboard) -> uvicorn.Server:
    """What serves *dashboard* until SIGINT or SIGTERM. Raises MissingExtra."""
    try:
        import uvicorn
    except ModuleNotFoundError as error:
        raise MissingExtra("uvicorn", "web", "holdfast dashboard") from error

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            dashboard.streams.close()  # or they would be waited for
            await super().shutdown(sockets)

    # No log of requests: their URLs carry tokens and what people look for.
    return Server(
        uvicorn.Config(
            dashboard, access_log=False, log_config=None, server_header=False, proxy_headers=False, ws="none",
            lifespan="on", limit_concurrency=500, timeout_graceful_shutdown=5,
        )
    )  # fmt: skip
