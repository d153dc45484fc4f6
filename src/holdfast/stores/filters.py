"""Which events and deliveries are meant. Times are aware datetimes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the annotations are read when a replay's filter is taken from its JSON
from typing import TYPE_CHECKING
from uuid import UUID  # noqa: TC003 - the same

from holdfast.errors import InvalidInput
from holdfast.names import text_problem
from holdfast.patterns import check_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events are meant; what is None is not asked for.

    Attributes:
        name: A name or a pattern of names.
        since: From this `occurred_at` on.
        until: Before this `occurred_at`.
    """

    event_id: UUID | None = None
    name: str | None = None
    tenant_id: str | None = None
    key: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        if self.name is not None:
            check_pattern(self.name)
        check_texts(self, ("tenant_id", "key", "subscription", "error"))
        check_times(self.since, self.until)


@dataclass(frozen=True, slots=True)
class PayloadMatch:
    """Events in whose payload a value stands at a path.

    Attributes:
        path: Names joined by dots, numbers of list members among them: ``order.lines.0.sku``.
        value: As it is written in the payload: a text without its quotes, a number, true or false.
    """

    path: str
    value: str

    def __post_init__(self) -> None:
        for field in ("path", "value"):
            if (problem := text_problem(getattr(self, field))) is not None:
                raise InvalidInput(f"payload {field}", problem, "no payload holds such a text")
        if not all(self.segments):
            raise InvalidInput(
                "payload path", f"is {self.path[:60]!r}", "write names joined by dots: order.lines.0.sku"
            )

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.path.split("."))

    @classmethod
    def parse(cls, text: str) -> PayloadMatch:
        """
        From ``order.id=13``.

        Raises:
            InvalidInput: It is not of this form.
        """
        path, equals, value = text.partition("=")
        if not equals:
            raise InvalidInput("payload", f"is {text[:60]!r}", "write PATH=VALUE, as in order.id=13")
        return cls(path, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadFilter(EventFilter):
    """Which deliveries are meant. `since` and `until` mean the time of the last change: when it died.

    Attributes:
        error: Part of the reason, or of the last attempt's error or message; upper or lower case is all one.
        fingerprint: Of what the last attempt failed at, as `Inspector.dead_groups` tells it.
    """

    subscription: str | None = None
    error: str | None = None
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayFilter(EventFilter):
    """Which events to deliver again: those of `EventFilter`, from *first_id* to *last_id*, both included."""

    first_id: UUID | None = None
    last_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which actions are meant; what is None is not asked for.

    Attributes:
        actor: Who acted, the whole name.
        action: As it is recorded: pause, dead retry, replay, …
        target: What it was done to: mostly the name of a subscription.
        tenant_id: Those that concerned this tenant alone.
        allowed: Whether it was allowed, or refused.
        since: From this time on.
        until: Before this time.
    """

    actor: str | None = None
    action: str | None = None
    target: str | None = None
    tenant_id: str | None = None
    allowed: bool | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        check_texts(self, ("actor", "action", "target", "tenant_id"))
        check_times(self.since, self.until)


def check_texts(filter: object, fields: Iterable[str]) -> None:
    """Raise InvalidInput where one of the *fields* that *filter* has is a text that no store holds."""
    for field in fields:
        text = getattr(filter, field, None)
        if text is not None and (problem := text_problem(text)) is not None:
            raise InvalidInput(field, problem, "no store holds such a text")


def check_times(since: datetime | None, until: datetime | None) -> None:
    if since is not None and until is not None and since >= until:
        raise InvalidInput("since", f"is {since.isoformat()}", f"give a time before until, {until.isoformat()}")
