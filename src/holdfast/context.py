"""Which delivery is being handled here: what `publish` inherits from, in tasks and threads alike."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.subscription import Delivery

CURRENT: ContextVar[Delivery | None] = ContextVar("holdfast_delivery", default=None)
