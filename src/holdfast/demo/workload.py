"""What the demo publishes: the traffic of small shops, mixed with payloads from a JSONL file. No I/O but that file."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from holdfast.composing import compose_item
from holdfast.errors import ConfigurationError, InvalidEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from uuid import UUID

DEAD_LETTER = "holdfast.delivery.dead"
"""Published by Holdfast itself; the archive receives it like any other event."""

PATTERNS = {
    "billing": ["order.*", "payment.*"],
    "dispatch": ["order.placed", "shipment.*"],
    "archive": ["**"],
}
"""The shops' subscriptions."""

MAX_ATTEMPTS = 5
FLAKY, POISON = 2, MAX_ATTEMPTS
FAILING_SUBSCRIPTION = "billing"

_SHOPS = ("north-bakery", "harbour-books", "old-mill-tea")
_LIFE = ("order.placed", "payment.authorised", "payment.captured", "shipment.packed", "shipment.sent")
_GOODS = ("rye bread", "café crème", "“A Tide of Ink”", "雲南 pu-erh", "honey jar", "sea map 1:50 000", "cup 🫖")
_OPEN_ORDERS = 40
_MAX_PAYLOAD = 2**20


@dataclass(frozen=True, slots=True)
class Item:
    """An event to be published. ``fails``: how often its handler in billing fails before it succeeds."""

    name: str
    payload: Any
    tenant_id: str = "default"
    key: str | None = None
    event_id: str | None = None
    fails: int = 0

    @property
    def expected(self) -> frozenset[str]:
        """The subscriptions that must handle it, by the demo's own reckoning and not by Holdfast's."""
        kind, _, rest = self.name.partition(".")
        found = {"archive"}
        if kind in {"order", "payment"} and rest and "." not in rest:
            found.add("billing")
        if self.name == "order.placed" or (kind == "shipment" and rest and "." not in rest):
            found.add("dispatch")
        return frozenset(found)

    @property
    def dies(self) -> bool:
        return self.fails >= MAX_ATTEMPTS


@dataclass(frozen=True, slots=True)
class Sent:
    """An event whose publish returned. ``sequence``: its number among those of its key, from 1."""

    item: Item
    sequence: int
    digest: str


@dataclass(slots=True)
class Manifest:
    """Everything that was sent, by event id: one half of the truth; the other is the ledger."""

    sent: dict[UUID, Sent] = field(default_factory=dict)
    _numbers: Counter[tuple[str, str]] = field(default_factory=Counter)

    def prepare(self, item: Item) -> Sent:
        """Number *item* within its key; call it in the order of publishing."""
        if item.key is not None:
            self._numbers[item.tenant_id, item.key] += 1
        number = self._numbers[item.tenant_id, item.key] if item.key is not None else 0
        return Sent(item, number, digest(item.payload))

    @property
    def expected(self) -> set[tuple[UUID, str]]:
        """(event, subscription) of everything that must be handled."""
        wanted = {
            (event_id, subscription) for event_id, sent in self.sent.items() for subscription in sent.item.expected
        }
        return wanted - self.doomed

    @property
    def doomed(self) -> set[tuple[UUID, str]]:
        """(event, subscription) of everything that must end dead."""
        return {(event_id, FAILING_SUBSCRIPTION) for event_id, sent in self.sent.items() if sent.item.dies}


def digest(payload: Any) -> str:
    """A hash of the payload's content; equal for equal JSON values."""
    text = json.dumps(payload, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def shop_traffic(count: int, seed: int) -> list[Item]:
    """*count* events of orders on their way (key: the order) and of carts (key: the customer); the same each time."""
    chance = random.Random(seed)
    orders: list[list[Any]] = []
    items: list[Item] = []
    while len(items) < count:
        if chance.random() < 0.15:
            items.append(_cart(chance))
            continue
        if len(orders) < _OPEN_ORDERS:
            orders.append([len(items) + 1, chance.choice(_SHOPS), 0])
        order = chance.choice(orders)
        number, shop, stage = order
        items.append(Item(_LIFE[stage], _order(chance, number, stage), shop, f"order-{number}"))
        order[2] += 1
        if order[2] == len(_LIFE):
            orders.remove(order)
    return items


def _cart(chance: random.Random) -> Item:
    customer = chance.randrange(1, 30)
    goods = {name: chance.randrange(1, 5) for name in chance.sample(_GOODS, 2)}
    return Item("cart.changed", {"customer": customer, "goods": goods}, chance.choice(_SHOPS), f"customer-{customer}")


def _order(chance: random.Random, number: int, stage: int) -> dict[str, Any]:
    return {
        "order": number,
        "step": stage,
        "lines": [{"item": chance.choice(_GOODS), "price": chance.randrange(100, 9000) / 100} for _ in range(3)],
        "gift": chance.random() < 0.1,
        "note": None,
    }


def with_failures(items: Sequence[Item], *, flaky: int, poison: int) -> list[Item]:
    """The same with that many events, spread evenly, whose handler fails twice, or always."""
    candidates = [place for place, item in enumerate(items) if item.name.startswith("payment.")]
    failures = [FLAKY] * flaky + [POISON] * poison
    random.Random(4).shuffle(failures)
    changed = list(items)
    for number, fails in enumerate(failures):
        place = candidates[number * len(candidates) // len(failures)]
        changed[place] = replace(items[place], fails=fails)
    return changed


def mixed(shop: Sequence[Item], others: Sequence[Item]) -> list[Item]:
    """Both, each in its order, the *others* spread evenly among the shop's."""
    places = [(place / len(shop), 0, place) for place in range(len(shop))]
    places += [(place / len(others), 1, place) for place in range(len(others))]
    return [(others if is_other else shop)[place] for _, is_other, place in sorted(places)]


def read_items(path: Path | None) -> list[Item]:
    """The events of a JSONL file, or of the demo's own sample.

    Raises:
        ConfigurationError: The file cannot be read, or a line is not an event; the line's number is told.
    """
    try:
        text = (path or files("holdfast.demo") / "webhooks.jsonl").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read as a JSONL file: {error}") from error
    return list(_items(text.split("\n"), str(path)))


def _items(lines: Iterable[str], path: str) -> Iterator[Item]:
    ids: set[str | None] = set()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            item = _item(json.loads(line))
        except (ValueError, InvalidEvent) as error:
            raise ConfigurationError(f"{path}, line {number} is not an event: {error}") from error
        if item.event_id is not None and item.event_id in ids:
            raise ConfigurationError(f"{path}, line {number} repeats the id {item.event_id}: give each event its own")
        ids.add(item.event_id)
        yield item


def _item(read: Any) -> Item:
    if not isinstance(read, dict):
        raise ValueError(f"it is of type {type(read).__name__}; give an object with name, payload, tenant_id, key, id")  # noqa: TRY004
    fields = {name: read.get(name) for name in ("name", "payload", "tenant_id", "key", "id") if name in read}
    event = compose_item(fields, 0, cause=None, limit=_MAX_PAYLOAD)
    return Item(event.name, read["payload"], event.tenant_id, event.key, str(event.id) if read.get("id") else None)
