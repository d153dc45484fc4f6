"""Which delivery is being handled here: what `publish` inherits from, in tasks and threads alike."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.subscription import Delivery

CURRENT: ContextVar[Delivery | None] = ContextVar("holdfast_delivery", default=None)


def handled_by(bus: Any) -> Delivery | None:
    """The delivery, if it is one of *bus*: what another bus handles is none of its causes."""
    current = CURRENT.get()
    return current if current is not None and current.bus is bus else None
