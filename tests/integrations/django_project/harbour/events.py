"""Handlers of the harbour."""

from __future__ import annotations

from django.db import connection
from shop.models import Order

from holdfast import Event, RetryPolicy
from holdfast.integrations.django import apublish, bus

from .around import seen


@bus.subscribe("harbour.entered", name="plain")
def enter(event: Event) -> None:
    Order.objects.create(customer=event.payload["ship"], item="berth")
    seen.append(("plain", connection.connection))


@bus.subscribe("harbour.entered", name="async")
async def enter_async(event: Event) -> None:
    await Order.objects.acreate(customer=event.payload["ship"], item="tug")
    await apublish("harbour.told", {"by": "async"})


@bus.subscribe("harbour.told", name="told")
def told(event: Event) -> None:
    seen.append(("told", event.causation_id is not None))


@bus.subscribe("harbour.storm", name="storms", retry=RetryPolicy(max_attempts=1))
def storm(event: Event) -> None:
    raise RuntimeError("the mast is broken")
