"""Who asks, and what that person may do: actors with roles, and the ways to tell them."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import TYPE_CHECKING, TypeAlias

from holdfast.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.requests import Request


class Role(StrEnum):
    """What an actor may do, each what the one before may, too."""

    VIEWER = "viewer"
    """Look."""
    OPERATOR = "operator"
    """Do what can be taken back: pause, resume, retry, replay."""
    ADMIN = "admin"
    """Do what cannot: discard, skip, edit."""

    def includes(self, other: Role) -> bool:
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(other)


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who was let in. *name* goes into the audit."""

    name: str
    role: Role


Authenticate: TypeAlias = Callable[["Request"], Actor | Awaitable[Actor | None] | None]
"""Tells who makes a request, or None: nobody who may come in. Takes a ``starlette.requests.Request``."""


class OneTimeToken:
    """A way in by a URL that works once, for one person at this machine.

    Args:
        actor: Who comes in by it.
    """

    how = "Open the URL that  holdfast dashboard  printed when it started. It works once; start it again for a new one."

    def __init__(self, actor: Actor) -> None:
        self._actor, self.actor_name = actor, actor.name
        self.token = secrets.token_urlsafe(24)
        self._spent = False

    def redeem(self, token: str) -> bool:
        """Whether *token* is the right one, and has not been used."""
        if self._spent or not secrets.compare_digest(token.encode(), self.token.encode()):
            return False
        self._spent = True
        return True

    def actor(self, name: str) -> Actor | None:
        """Who has signed in as *name*; None if that is nobody any more."""
        return self._actor if name == self._actor.name else None


class ProxyHeader:
    """Trust a proxy that has authenticated the person and names them in a header.

    Args:
        header: The header with the name. The proxy must drop what clients send under it.
        role_header: A header with the role; without it, or where it says none, *role* counts.
        role: The role of whoever comes without one.
        proxies: Addresses that the proxy connects from; requests from elsewhere are refused, whatever they carry.
    """

    def __init__(
        self,
        header: str,
        *,
        role_header: str | None = None,
        role: Role = Role.VIEWER,
        proxies: Collection[str] = ("127.0.0.1", "::1"),
    ) -> None:
        self.header, self._role_header, self._role = header, role_header, role
        try:
            self._proxies = {ip_address(one) for one in proxies}
        except ValueError as error:
            raise ConfigurationError(f"a trusted proxy is named by its address: {error}") from error

    def __call__(self, request: Request) -> Actor | None:
        peer = request.client.host if request.client else ""
        names = request.headers.getlist(self.header)
        # Two values: the client's own may be one of them.
        if not _is_among(peer, self._proxies) or len(names) != 1 or not names[0].strip():
            return None
        role = self._role
        if self._role_header is not None and (said := request.headers.getlist(self._role_header)):
            if len(said) != 1 or said[0] not in set(Role):
                return None
            role = Role(said[0])
        return Actor(names[0].strip()[:255], role)


def _is_among(peer: str, addresses: Collection[object]) -> bool:
    try:
        return ip_address(peer) in addresses
    except ValueError:  # a Unix socket has no address
        return False
