"""The events of a shop, of every kind of type. Their names are the tests' own: other modules declare events as well."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NotRequired, TypedDict
from uuid import UUID

import msgspec
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from holdfast.typed import event, upcast

ID = UUID("0190b2a4-7c1e-7d3a-9b7e-2f6c1d0e5a41")
WHEN = datetime(2030, 1, 31, 12, 30, tzinfo=UTC)
SECRET = "ann@example.com"


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Item:
    sku: str
    price: Decimal


@event("typed.order.placed", version=2, key="order_id", tenant="shop")
@dataclass(frozen=True, slots=True)
class OrderPlaced:
    """Somebody has ordered something."""

    order_id: int
    shop: str
    items: list[Item]
    placed_at: datetime
    colour: Colour = Colour.RED
    notes: dict[int, str] = field(default_factory=dict)


@upcast(OrderPlaced, from_version=1)
def with_items(payload: dict[str, Any]) -> dict[str, Any]:
    """Orders had one item."""
    payload["items"] = [payload.pop("item")]
    return payload


@event("typed.order.paid", key=lambda paid: f"order-{paid.order_id}")
class OrderPaid(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    order_id: UUID
    amount: Annotated[int, msgspec.Meta(gt=0, description="in cents")]
    paid_by: Literal["card", "cash"] = "card"


class Address(BaseModel):
    street: str
    number: int = Field(gt=0)


@event("typed.order.sent", key="order_id")
class OrderSent(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    order_id: UUID = Field(alias="orderId")
    to: list[Address]
    sent_at: AwareDatetime
    email: str = SECRET

    @field_validator("email")
    @classmethod
    def has_an_at(cls, email: str) -> str:
        if "@" not in email:
            raise ValueError(f"{email} is no address")
        return email


@event("typed.order.seen", key="order_id")
class OrderSeen(TypedDict):
    order_id: str
    at: datetime
    by: NotRequired[str]


PLACED = OrderPlaced(1, "acme", [Item("a-1", Decimal("19.90"))], WHEN, Colour.BLUE, {7: "seven"})
PAID = OrderPaid(ID, 1990, "cash")
SENT = OrderSent(orderId=ID, to=[Address(street="Rua", number=3)], sent_at=WHEN)
SEEN: OrderSeen = {"order_id": "o-1", "at": WHEN}
