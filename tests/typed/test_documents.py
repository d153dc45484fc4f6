"""The AsyncAPI document and the catalogue."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from holdfast import Event, EventBus
from holdfast.event_types import event_type_of
from holdfast.typed import event
from holdfast.typed.asyncapi import asyncapi
from holdfast.typed.catalogue import catalogue
from holdfast.typed.documents import description_of, fields_of, steps_of

from .shop import OrderPaid, OrderPlaced, OrderSeen, OrderSent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.typed.declared import Declared

KINDS = (OrderPaid, OrderPlaced, OrderSeen, OrderSent)


@pytest.fixture
def events() -> list[Declared]:
    found: Any = [event_type_of(one) for one in KINDS]
    return sorted(found, key=lambda one: one.name)


@pytest.fixture
def bus() -> EventBus:
    bus = EventBus("sqlite://")

    async def bill(order: OrderPlaced) -> None: ...

    async def archive(event: Event) -> None: ...

    bus.subscribe(OrderPlaced, bill, name="shop.bill<ing>")
    bus.subscribe(["typed.*.placed", "typed.order.paid"], archive, name="archive")
    return bus


# ---- AsyncAPI 3.0: what its specification asks of each object, as far as such a document has it

ALLOWED = {
    "root": ({"asyncapi", "info", "defaultContentType", "channels", "operations", "components"}, {"asyncapi", "info"}),
    "info": ({"title", "version"}, {"title", "version"}),
    "channel": ({"address", "messages"}, set()),
    "operation": ({"action", "title", "channel", "messages"}, {"action", "channel"}),
    "message": ({"name", "title", "contentType", "headers", "payload", "description"}, set()),
}


def require(kind: str, found: dict[str, Any]) -> None:
    allowed, needed = ALLOWED[kind]
    assert needed <= found.keys() <= allowed, (kind, found.keys())


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for word, value in node.items():
            if word == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for one in node:
            yield from references(one)


def found_at(document: Any, reference: str) -> Any:
    assert reference.startswith("#/")
    for step in reference[2:].split("/"):
        document = document[step]
    return document


def test_the_document_has_the_structure_of_asyncapi_3(events: list[Declared], bus: EventBus) -> None:
    document = asyncapi(events, bus.consumers, title="Shop", version="1.2.0")
    assert json.loads(json.dumps(document)) == document
    require("root", document)
    require("info", document["info"])
    assert document["asyncapi"] == "3.0.0"
    assert document["components"].keys() == {"messages", "schemas"}
    for channel in document["channels"].values():
        require("channel", channel)
    for operation in document["operations"].values():
        require("operation", operation)
        assert operation["action"] in ("send", "receive")
        (message,) = operation["messages"]
        assert message["$ref"].startswith(
            f"{operation['channel']['$ref']}/messages/"
        )  # one of its channel, not of others
    for message in document["components"]["messages"].values():
        require("message", message)
        assert message["headers"]["type"] == "object"
    for keys in (document["channels"], document["operations"], *document["components"].values()):
        assert all(key.replace(".", "").replace("-", "").replace("_", "").isalnum() for key in keys)
    for reference in references(document):
        found_at(document, reference)
    assert "$defs" not in json.dumps(document)
    assert "prefixItems" not in json.dumps(document)


def test_the_document_says_who_publishes_and_who_receives(events: list[Declared], bus: EventBus) -> None:
    document = asyncapi(events, bus.consumers, title="Shop", version="1.2.0")
    received = {name for name, one in document["operations"].items() if one["action"] == "receive"}
    assert received == {
        "receive.typed.order.placed.shop-bill_3c_ing_3e_",
        "receive.typed.order.placed.archive",
        "receive.typed.order.paid.archive",
    }
    sent = [one["channel"]["$ref"] for one in document["operations"].values() if one["action"] == "send"]
    assert sent == [f"#/channels/{one.name}" for one in events]
    message = document["components"]["messages"]["typed.order.placed"]
    assert message["headers"]["properties"] == {"event_version": {"type": "string", "const": "2"}}
    assert message["description"] == "Somebody has ordered something."


@dataclass
class Parcel:
    size: tuple[int, str]


class One(msgspec.Struct):
    parcel: Parcel


class Two(msgspec.Struct):
    parcel: Parcel


def test_two_events_may_have_parts_of_one_name_and_any_name_is_a_key() -> None:
    found: list[Any] = [event_type_of(event(name)(one)) for name, one in (("typed.a/b", One), ("typed.a:b", Two))]
    document = asyncapi(found, (), title="Shop", version="1")
    assert list(document["channels"]) == ["typed.a_2f_b", "typed.a_3a_b"]
    assert [one["address"] for one in document["channels"].values()] == ["typed.a/b", "typed.a:b"]
    assert len(document["components"]["schemas"]) == 6
    size = document["components"]["schemas"]["typed.a_2f_b.Parcel"]["properties"]["size"]
    assert (size["items"], size["additionalItems"]) == ([{"type": "integer"}, {"type": "string"}], False)


# ---- the catalogue


def test_fields_are_told_in_words(events: list[Declared]) -> None:
    told = {one.name: [(field.path, field.type, field.required) for field in fields_of(one)] for one in events}
    assert told == {
        "typed.order.paid": [
            ("orderId", "uuid", True), ("amount", "integer", True), ("paidBy", '"card" | "cash"', False),
        ],
        "typed.order.placed": [
            ("order_id", "integer", True), ("shop", "string", True), ("items", "list of Item", True),
            ("items[].sku", "string", True), ("items[].price", "decimal", True), ("placed_at", "date-time", True),
            ("colour", '"blue" | "red"', False), ("notes", "object of string", False),
        ],
        "typed.order.seen": [("at", "date-time", True), ("by", "string", False), ("order_id", "string", True)],
        "typed.order.sent": [
            ("orderId", "uuid", True), ("to", "list of Address", True), ("to[].street", "string", True),
            ("to[].number", "integer", True), ("sent_at", "date-time", True), ("email", "string", False),
        ],
    }  # fmt: skip
    placed = next(one for one in events if one.name == "typed.order.placed")
    paid = next(one for one in events if one.name == "typed.order.paid")
    assert (description_of(placed), description_of(paid)) == ("Somebody has ordered something.", "")
    assert steps_of(placed) == [(1, "Orders had one item.")]
    (amount,) = [field for field in fields_of(paid) if field.path == "amount"]
    assert (amount.rules, amount.description) == ("more than 0", "in cents")


class Branch(msgspec.Struct):
    name: str
    branches: list[Branch] = []
    by_name: dict[str, Branch] = {}


def test_a_type_within_itself_is_told_once() -> None:
    found: Any = event_type_of(event("typed.tree")(Branch))
    assert [(field.path, field.type) for field in fields_of(found)] == [
        ("name", "string"),
        ("branches", "list of Branch"),
        ("by_name", "object of Branch"),
    ]


class Checker(HTMLParser):
    """Every element is closed, every link leads to something on the page, nothing is loaded."""

    EMPTY = ("meta",)

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.EMPTY:
            self.open.append(tag)
        for name, value in attrs:
            assert name not in ("src", "style", "onclick"), (tag, name)
            if name == "id":
                assert value not in self.ids
                self.ids.add(str(value))
            if name == "href":
                self.links.add(str(value).removeprefix("#"))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_catalogue_is_a_whole_page(events: list[Declared], bus: EventBus) -> None:
    page = catalogue(events, bus.consumers, title="Shop & more")
    assert page == catalogue(events, bus.consumers, title="Shop & more")
    found = Checker()
    found.feed(page)
    found.close()
    assert found.open == []
    assert found.links == found.ids == {one.name for one in events}
    text = " ".join(found.texts)
    for said in (
        "Shop & more",
        "4 events",
        "version 2",
        "shop.bill<ing>",
        "archive",
        "1 to 2: Orders had one item.",
        "in cents",
    ):
        assert said in text


def test_nothing_that_a_program_says_becomes_markup() -> None:
    @event("typed.odd")
    @dataclass
    class Odd:
        """<script>alert(1)</script>"""

        text: str = "</code><b>"

    found: list[Any] = [event_type_of(Odd)]
    page = catalogue(found, (), title="<i>")
    assert not any(tag in page for tag in ("<script", "<b>", "<i>"))
