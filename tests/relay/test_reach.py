"""Which addresses a webhook may go to."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import ConfigurationError
from holdfast.relay.reach import may_be_reached, networks_of

FORBIDDEN = [
    "127.0.0.1", "127.8.9.10", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "198.18.0.1", "224.0.0.1",
    "239.255.255.255", "240.0.0.1", "255.255.255.255", "192.0.2.1",
    "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::", "2002:a00:1::1", "2001:0:0:0:0:0:f5ff:fffe", "::7f00:1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1"]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_what_only_this_machine_can_reach_is_not_reached(address):
    assert not may_be_reached(address, ())


@pytest.mark.parametrize("address", PUBLIC)
def test_the_internet_is_reached(address):
    assert may_be_reached(address, ())


def test_private_networks_are_reached_where_that_is_allowed():
    allowed = networks_of(["10.0.0.0/8", "::1", "169.254.169.254"])
    assert all(
        may_be_reached(one, allowed) for one in ("10.1.2.3", "::1", "::ffff:10.1.2.3", "169.254.169.254", "1.1.1.1")
    )
    assert not any(may_be_reached(one, allowed) for one in ("127.0.0.1", "::2", "192.168.1.1", "169.254.169.253"))


@pytest.mark.parametrize("given_", [["10.0.0.1/8"], ["example.org"], [""], "10.0.0.0/33"])
def test_what_is_no_network_is_said_at_once(given_):
    with pytest.raises(ConfigurationError):
        networks_of(given_)


private = st.sampled_from(
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10"]
)


@given(private.flatmap(lambda network: st.ip_addresses(network=network)))
def test_no_disguise_helps_a_private_address(address):
    number = int(address)
    disguises = [
        ipaddress.IPv6Address(0xFFFF_0000_0000 | number),  # mapped
        ipaddress.IPv6Address((0x64_FF9B << 96) | number),  # NAT64
        ipaddress.IPv6Address((0x2002 << 112) | (number << 80) | 1),  # 6to4
        ipaddress.IPv6Address((0x2001_0000 << 96) | (number ^ 0xFFFF_FFFF)),  # Teredo
    ]
    assert not any(may_be_reached(str(one), ()) for one in (address, *disguises))
