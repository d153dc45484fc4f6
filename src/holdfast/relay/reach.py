"""Which addresses a webhook may go to. Pure.

Whoever names a URL, or whoever answers for its name in the DNS, must not reach what only this machine can: the loopback,
private networks, the metadata service of a cloud. So the address that is connected to is looked at, not the name.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, TypeAlias

from holdfast.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address

_TRANSLATED = IPv6Network("64:ff9b::/96")
_UNICAST = IPv6Network("2000::/3")  # all that is given out of IPv6; Python takes more for global
_NOT_PUBLIC = (
    IPv4Network("192.0.0.0/24"),  # protocol assignments; some Pythons take a part of it for global
    IPv4Network("168.63.129.16/32"),  # a cloud's own, in the midst of public addresses
)


def networks_of(given: Iterable[str]) -> tuple[Network, ...]:
    """
    Networks from ``10.0.0.0/8``, ``127.0.0.1`` and the like.

    Raises:
        ConfigurationError: One is none.
    """
    try:
        return tuple(ip_network(one) for one in ((given,) if isinstance(given, str) else given))
    except ValueError as error:
        raise ConfigurationError(f"allow_private takes addresses and networks such as 10.0.0.0/8: {error}") from error


def may_be_reached(address: str, allowed: Iterable[Network]) -> bool:
    """Whether *address*, as a name was resolved to, is public or in one of the *allowed* networks."""
    found = _inner(ip_address(address.partition("%")[0]))
    return is_public(found) or any(found in network for network in allowed if network.version == found.version)


def is_public(address: Address) -> bool:
    """Whether an address belongs to the internet at large."""
    if isinstance(address, IPv6Address):
        return address in _UNICAST and address.is_global
    return address.is_global and not address.is_multicast and not any(address in one for one in _NOT_PUBLIC)


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to, by whatever way of translating or tunnelling."""
    if isinstance(address, IPv4Address):
        return address
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour or address
