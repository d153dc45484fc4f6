"""Where a relay or an ingest leads to, from a URL. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

from holdfast.errors import ConfigurationError

_KINDS = {
    "nats": ("nats", False), "nats+tls": ("nats", True), "tls": ("nats", True),
    "amqp": ("amqp", False), "amqps": ("amqp", True),
    "redis": ("redis", False), "rediss": ("redis", True),
    "kafka": ("kafka", False), "kafka+tls": ("kafka", True),
}  # fmt: skip
_WEB = ("http", "https")
_NOT_IN_SUBSCRIPTION = re.compile(r"[^A-Za-z0-9_.:/<>-]+")


@dataclass(frozen=True, slots=True)
class Address:
    """A broker and a place in it. Its text has no password.

    Attributes:
        kind: ``nats``, ``amqp``, ``redis`` or ``kafka``: also the name of the module that knows it.
        servers: Hosts and ports; None: the broker's usual one.
        target: Stream, exchange, queue or topic.
        tls: The connection is encrypted.
        options: What stands behind the ``?``; each kind has its own.
    """

    kind: str
    servers: tuple[tuple[str, int | None], ...]
    target: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    options: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        hosts = ",".join(_shown_server(host, port) for host, port in self.servers)
        return f"{self.kind}://{hosts}/{self.target}"


def kind_of(url: str) -> str:
    """The kind of a URL given as ``to=`` or to an ingest: a broker's, or ``webhook``.

    Raises:
        ConfigurationError: There is none of that scheme.
    """
    given: object = url  # callers without a type checker give other things
    if not isinstance(given, str):
        raise ConfigurationError(
            f"the address is of type {type(given).__name__}: give a URL such as nats://host/stream"
        )
    scheme = url.partition("://")[0].lower() if "://" in url else ""
    if scheme in _WEB:
        return "webhook"
    if scheme not in _KINDS:
        shown = f"{scheme[:20]!r}" if scheme else "an address without a scheme"
        raise ConfigurationError(f"{shown} is no broker: use one of {', '.join(sorted((*_KINDS, *_WEB)))}")
    return _KINDS[scheme][0]


def parse_address(url: str) -> Address:
    """
    The address in a URL such as ``nats://user:password@one:4222,two:4222/stream?option=value``.

    Credentials and target are percent-decoded. Several hosts are several servers of one broker.

    Raises:
        ConfigurationError: It is no address of a broker; says what is wrong, without the password.
    """
    if (kind := kind_of(url)) == "webhook":
        raise ConfigurationError("http:// and https:// are webhooks: events are relayed to them, not taken from them")
    scheme, _, rest = url.partition("://")
    if "#" in rest:
        _refuse(kind, "has a '#': write it as %23 where it belongs to a password or a name")
    try:
        parts = urlsplit(f"//{rest}")
    except ValueError:
        _refuse(kind, "has a broken IPv6 address: write [::1]:4222")
    login, _, hosts = parts.netloc.rpartition("@")
    name, has_password, password = login.partition(":")
    return Address(
        kind, tuple(_server(kind, one) for one in hosts.split(",")), unquote(parts.path.removeprefix("/")),
        unquote(name) or None, unquote(password) if has_password else None, _KINDS[scheme.lower()][1],
        _options(kind, parts.query),
    )  # fmt: skip


def default_name(use: str, kind: str, target: str) -> str:
    """The durable name of a relay or an ingest that is given none, such as ``relay:nats:shop``."""
    return _NOT_IN_SUBSCRIPTION.sub("-", f"{use}:{kind}:{target}")[:200]


def _options(kind: str, query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        _refuse(kind, "has options that are not name=value, joined by '&'")
    options = dict(pairs)
    if len(options) != len(pairs):
        _refuse(kind, "gives an option twice")
    return options


def _server(kind: str, text: str) -> tuple[str, int | None]:
    host, port = _host_and_port(kind, text)
    if not host:
        _refuse(kind, f"names no host: write {kind}://host/target")
    if port is None:
        return host, None
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        # What stands there may be the end of a password that was not encoded: it is not shown.
        _refuse(kind, "has a port that is none: use 1 to 65535, and write @ : / of a password as %40 %3A %2F")
    return host, int(port)


def _host_and_port(kind: str, text: str) -> tuple[str, str | None]:
    if text.startswith("["):  # IPv6
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            _refuse(kind, "has a broken IPv6 address: write [::1]:4222")
        return host, rest[1:] if rest else None
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _shown_server(host: str, port: int | None) -> str:
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"


def _refuse(kind: str, problem: str) -> NoReturn:
    raise ConfigurationError(f"the {kind} address {problem}")
