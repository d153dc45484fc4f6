"""Addresses of brokers: what is read out of them, what is refused, and that no password is told."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import EventBus, SyncEventBus
from holdfast.errors import ConfigurationError, DuplicateSubscription, InvalidSubscription, MessageRefused
from holdfast.relay.address import Address, default_name, parse_address
from holdfast.relay.ports import Message
from holdfast.relay.rounds import rounds
from holdfast.worker.hand import InHand
from holdfast.worker.lanes import Lanes


def test_an_address_has_servers_credentials_target_and_options() -> None:
    found = parse_address("kafka+tls://us%40er:p%2Fw%3A@one:9092,[::1]:9093,three/or%2Fders?acks=all&x=")
    assert found == Address(
        "kafka",
        (("one", 9092), ("::1", 9093), ("three", None)),
        "or/ders",
        "us@er",
        "p/w:",
        True,
        {"acks": "all", "x": ""},
    )
    assert str(found) == "kafka://one:9092,[::1]:9093,three/or/ders"
    assert "p/w" not in repr(found)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("shop", "without a scheme"),
        ("ftp://host/x", "'ftp' is no broker"),
        ("nats:///shop", "names no host"),
        ("nats://host:0/shop", "port"),
        ("nats://host:99999/shop", "port"),
        ("nats://host:x/shop", "port"),
        ("nats://user:se#cret@host/shop", "%23"),
        ("nats://user:se/cret@host/shop", "port"),
        ("nats://host/shop?timeout", "name=value"),
        ("nats://host/shop?timeout=1&timeout=2", "twice"),
        ("nats://[::1/shop", "IPv6"),
        ("https://host/shop", "webhooks"),
        ("nats://host/", "no name of a stream"),
        ("nats://host/a.b", "no name of a stream"),
        ("nats://host/shop?colour=red", "no option 'colour'"),
        ("nats://host/shop?timeout=soon", "seconds"),
        ("nats://host/shop?declare=maybe", "use no or file or memory"),
    ],
)
def test_what_is_wrong_is_told_when_it_is_declared_without_the_password(url: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        EventBus("sqlite://").ingest(url)
    assert why in str(refused.value)
    assert "cret" not in str(refused.value)


@given(
    user=st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable()),
    password=st.text(min_size=4, max_size=20).filter(lambda text: text.isprintable()),
    target=st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable()),
)
def test_whatever_is_percent_encoded_comes_back(user: str, password: str, target: str) -> None:
    from urllib.parse import quote

    found = parse_address(f"amqp://{quote(user, safe='')}:{quote(password, safe='')}@host/{quote(target, safe='')}")
    assert (found.username, found.password, found.target) == (user, password, target)
    assert str(found) == f"amqp://host/{target}"


def test_default_names_follow_the_rule_for_names() -> None:
    assert default_name("relay", "nats", "shop") == "relay:nats:shop"
    assert default_name("relay", "amqp", "more than") == "relay:amqp:more-than"
    assert len(default_name("relay", "amqp", "x" * 300)) == 200


def test_two_relays_need_two_names_and_so_do_two_ingests() -> None:
    for bus in (EventBus("sqlite://"), SyncEventBus("sqlite://")):
        bus.relay("a.**", "nats://host/shop")
        with pytest.raises(DuplicateSubscription):
            bus.relay("b.**", "nats://other/shop")
        bus.relay("b.**", "nats://other/shop", name="other")
        bus.ingest("nats://host/shop")
        with pytest.raises(DuplicateSubscription):
            bus.ingest("nats://other/shop")


@pytest.mark.parametrize("options", [{"batch": 0}, {"name": "a b"}, {"start": "yesterday"}, {"concurrency": 0}])
def test_a_relay_s_options_have_the_rules_of_a_subscription(options: dict[str, object]) -> None:
    with pytest.raises(InvalidSubscription):
        EventBus("sqlite://").relay("a.**", "nats://host/shop", **options)  # type: ignore[arg-type]


def test_a_format_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="binary or structured"):
        EventBus("sqlite://").relay("a.**", "nats://host/shop", format="xml")  # type: ignore[arg-type]


def test_a_refused_message_survives_pickling() -> None:
    again = pickle.loads(pickle.dumps(MessageRefused("nats://host/shop", "1", "too large", final=True)))
    assert (again.where, again.message_id, again.final) == ("nats://host/shop", "1", True)


@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=30))
def test_rounds_have_each_key_once_and_keep_the_order_of_each(keys: list[str | None]) -> None:
    messages = [Message(str(number), "n", "t", key, b"", {}) for number, key in enumerate(keys)]
    parts = rounds(messages)
    assert sorted(int(one.id) for part in parts for one in part) == list(range(len(keys)))
    for part in parts:
        keyed = [one.key for one in part if one.key is not None]
        assert len(keyed) == len(set(keyed))
    for key in ("a", "b", "c"):
        ids = [int(one.id) for part in parts for one in part if one.key == key]
        assert ids == sorted(ids)


@given(st.lists(st.sampled_from(["a", "b", None]), min_size=1, max_size=20), st.integers(1, 20))
def test_a_batch_that_is_put_back_comes_out_again_in_the_order_of_each_key(keys: list[str | None], size: int) -> None:
    lanes = Lanes()
    items = [_item(number, key) for number, key in enumerate(keys)]
    lanes.add_all(items)
    for _ in range(3):
        lanes.put_back_all(_batch(lanes, size))
    out: list[InHand] = []
    while lanes.has_next():
        item = lanes.take()
        out.append(item)
        lanes.free(item.key)
    assert sorted(item.size for item in out) == list(range(len(keys)))
    for key in {item.key for item in items} - {None}:
        numbers = [item.size for item in out if item.key == key]
        assert numbers == sorted(numbers)


def _item(number: int, key: str | None) -> InHand:
    row = type("Row", (), {"id": bytes(16), "tenant_id": "t"})
    return InHand(row, None, None if key is None else ("t", key), number, None)  # type: ignore[arg-type]


def _batch(lanes: Lanes, size: int) -> list[InHand]:
    taken: list[InHand] = []
    while lanes.has_next() and len(taken) < size:
        item: InHand | None = lanes.take()
        while item is not None:
            taken.append(item)
            item = lanes.take_behind(item.key) if len(taken) < size else None
    return taken
