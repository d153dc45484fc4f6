"""Which names the dashboard answers to. Pure.

A page of somebody else's can point a name of its own at this machine and then talk to us as if it were ours; it cannot
change the name that the browser sends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from holdfast.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class Hosts:
    """
    The host names that are answered, on whatever port.

    Args:
        names: Such as ``ops.example.org``; those of the loopback are always among them.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        given = [name.casefold() for name in names]
        for name in given:
            if not name or name != host_of(name) or "*" in name:
                raise ConfigurationError(f"{name!r} is no host name: give it without scheme, port and path")
        self._names = {*LOOPBACK, *given}

    def allows(self, host: str) -> bool:
        """Whether this is the value of a Host header that we answer."""
        return host_of(host) in self._names


def host_of(value: str) -> str | None:
    """The name in a Host header, in lower case, an IPv6 address in its brackets; None where it is malformed."""
    name, port = (value, "") if value.endswith("]") else value.rpartition(":")[::2] if ":" in value else (value, "")
    if (port and not port.isdigit()) or any(character in name for character in "/@?#\\ ,"):
        return None
    return name.casefold() or None


def is_same_origin(origin: str, host: str) -> bool:
    """Whether an Origin header names the place that the Host header does."""
    found = urlsplit(origin)
    return found.scheme in {"http", "https"} and found.netloc.casefold() == host.casefold()
