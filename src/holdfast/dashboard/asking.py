"""What a URL asks for: its parameters, checked, and as filters. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from uuid import UUID

from holdfast.errors import InvalidInput
from holdfast.moments import moment
from holdfast.names import text_problem
from holdfast.stores.filters import AuditFilter, DeadFilter, EventFilter, PayloadMatch, ReplayFilter

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_POSITION_MAX = 2**63 - 1

STATUSES = ("pending", "processing", "processed", "failed", "dead")

EVENT_FIELDS = ("name", "tenant", "key", "since", "until")
DEAD_FIELDS = ("subscription", "event", "error", "fingerprint", *EVENT_FIELDS)
AUDIT_FIELDS = ("who", "action", "subscription", "tenant", "outcome", "since", "until")

OUTCOMES = ("allowed", "refused")


class Ask:
    """The parameters of a URL. What is blank was not given."""

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self.given = {name: value.strip() for name, value in parameters.items() if value.strip()}

    def __getitem__(self, name: str) -> str:
        """The parameter, or an empty text: for fields of forms."""
        return self.given.get(name, "")

    def text(self, name: str) -> str | None:
        found = self.given.get(name)
        if found is not None and (problem := text_problem(found)) is not None:
            raise InvalidInput(name, problem, "no store holds such a text")
        return found

    def require(self, name: str) -> str:
        if (found := self.text(name)) is None:
            raise InvalidInput(name, "is missing", "the address is not whole: go back and use the link again")
        return found

    def one_of(self, name: str, values: Collection[str]) -> str | None:
        found = self.given.get(name)
        if found is not None and found not in values:
            raise InvalidInput(name, "is of no use", f"use one of {', '.join(values)}")
        return found

    def number(self, name: str, *, low: int = 1, high: int = _POSITION_MAX) -> int | None:
        if (found := self.given.get(name)) is None:
            return None
        if not (found.isascii() and found.isdigit()) or len(found) > 19 or not low <= int(found) <= high:
            raise InvalidInput(name, "is of no use", f"use a whole number of {low} to {high}")
        return int(found)

    def moment(self, name: str) -> datetime | None:
        found = self.given.get(name)
        return None if found is None else moment(found, now=datetime.now(UTC), field=name)

    def id(self, name: str) -> UUID | None:
        if (found := self.given.get(name)) is None:
            return None
        try:
            return UUID(found)
        except ValueError:
            raise InvalidInput(name, "is no UUID", "copy the whole id of an event") from None

    def kept(self, names: Collection[str], **changed: object) -> str:
        """The query that asks for the same, as far as *names* say, with some parameters *changed*; None drops one."""
        wanted: dict[str, object] = {name: value for name, value in self.given.items() if name in names}
        wanted |= changed
        return urlencode({name: str(value) for name, value in wanted.items() if value is not None})

    # Filters

    def event_filter(self) -> EventFilter:
        return EventFilter(
            name=self.text("name"), tenant_id=self.text("tenant"), key=self.text("key"), since=self.moment("since"),
            until=self.moment("until"),
        )  # fmt: skip

    def payload_match(self) -> PayloadMatch | None:
        """The value at a path that is asked for; None where no path is given."""
        if (path := self.text("path")) is None:
            return None
        return PayloadMatch(path.removeprefix("payload."), self["value"])

    def dead_filter(self) -> DeadFilter:
        return DeadFilter(
            event_id=self.id("event"), name=self.text("name"), tenant_id=self.text("tenant"), key=self.text("key"),
            since=self.moment("since"), until=self.moment("until"), subscription=self.text("subscription"),
            error=self.text("error"), fingerprint=self.text("fingerprint"),
        )  # fmt: skip

    def replay_filter(self) -> ReplayFilter:
        return ReplayFilter(
            event_id=self.id("event"), name=self.text("name"), tenant_id=self.text("tenant"), key=self.text("key"),
            since=self.moment("since"), until=self.moment("until"),
        )  # fmt: skip

    def audit_filter(self) -> AuditFilter:
        outcome = self.one_of("outcome", OUTCOMES)
        return AuditFilter(
            actor=self.text("who"), action=self.text("action"), target=self.text("subscription"),
            tenant_id=self.text("tenant"), allowed=None if outcome is None else outcome == "allowed",
            since=self.moment("since"), until=self.moment("until"),
        )  # fmt: skip
