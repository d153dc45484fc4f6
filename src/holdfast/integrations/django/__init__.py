"""
Holdfast as an application of Django.

::

    INSTALLED_APPS = [..., "holdfast.integrations.django"]

    # events.py of any application
    from holdfast.integrations.django import bus

    @bus.subscribe("order.placed")
    def send_receipt(event): ...

    # anywhere, inside of transaction.atomic() or not
    publish("order.placed", {"order_id": order.pk}, key=order.customer)

``manage.py migrate`` makes the tables, ``manage.py holdfast worker`` handles events. The store is the project's own database;
the setting ``HOLDFAST`` says otherwise, and has the options of the bus.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.integrations.django.project import project_bus

    bus = project_bus()
    publish, apublish = bus.publish, bus.apublish

__all__ = ["apublish", "bus", "publish"]


def __getattr__(name: str) -> Any:
    """Made when it is asked for: Django imports this module before the settings of its applications are there."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from holdfast.integrations.django.project import project_bus

    return project_bus() if name == "bus" else getattr(project_bus(), name)
