"""What a system that follows events through programs is told; `holdfast.telemetry.opentelemetry` is one."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from holdfast.event import NewEvent, Row
    from holdfast.subscription import Consumer, Delivery, Handler


class PublishSpan(Protocol):
    """A publish that is under way."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What its events carry to whoever handles them."""
        ...

    def composed(self, events: Sequence[NewEvent]) -> None:
        """These are going to be stored."""
        ...


class SubscriptionTracing(Protocol):
    """What is told of one subscription."""

    @property
    def handler(self) -> Handler:
        """What is called instead of the subscription's own handler."""
        ...

    def handled(self, rows: Sequence[Row], seconds: float) -> None:
        """The handler returned for each of these, one after the other; it took so long and ended just now."""
        ...

    def failed(self, rows: Sequence[Row], seconds: float, error: BaseException) -> None:
        """An attempt at these together ended just now."""
        ...


class Tracing(Protocol):
    """Set as `EventBus.tracing`, before the bus is used."""

    def publishing(self, name: str | None, cause: Delivery | None) -> AbstractContextManager[PublishSpan]:
        """
        A publish begins; it ends with the context.

        Args:
            name: Of the event; None: of several events.
            cause: The delivery whose handler publishes.
        """
        ...

    def of(self, consumer: Consumer) -> SubscriptionTracing | None:
        """Asked once for each subscription, before its first event; None: nothing is told of it."""
        ...


class _NoSpan:
    headers: Mapping[str, str] = {}

    def composed(self, events: Sequence[NewEvent]) -> None:
        pass


class NoTracing:
    """Nobody follows."""

    _publishing: AbstractContextManager[PublishSpan] = nullcontext(_NoSpan())

    def publishing(self, name: str | None, cause: Delivery | None) -> AbstractContextManager[PublishSpan]:  # noqa: ARG002
        return self._publishing

    def of(self, consumer: Consumer) -> None:
        pass


NO_TRACING = NoTracing()
