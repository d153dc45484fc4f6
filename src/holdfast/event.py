"""What an event is: as the caller gives it, as the store keeps it, as a handler sees it. No I/O."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from uuid import UUID

import msgspec

from holdfast.encrypted import is_encrypted, unreadable
from holdfast.erased import MASK
from holdfast.errors import MalformedEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
"""Stored times count microseconds from here, days count from its date (PostgreSQL's own epoch)."""

_MICROSECOND = timedelta(microseconds=1)
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


def to_micros(moment: datetime) -> int:
    """Microseconds since `EPOCH` of an aware datetime, exact for the years 1 to 9999."""
    return (moment - EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The aware UTC datetime that `to_micros` came from."""
    return EPOCH + timedelta(microseconds=micros)


class NewEvent(NamedTuple):
    """A validated event on its way into a store. ``payload`` and ``headers`` are JSON text in UTF-8."""

    id: UUID
    tenant_id: str
    name: str
    key: str | None
    payload: bytes
    headers: bytes | None = None
    occurred_at: datetime | None = None  # None: the store's clock says
    is_new: bool = (
        False  # its id was made for it, and no store has been asked to take it: nothing can be a repeat of it
    )
    due_at: datetime | None = None  # when it is to come into the log; None: now


class Row(NamedTuple):
    """An event as a store reads it: nothing is decoded until somebody looks (see `Event`).

    ``position`` grows along cause and effect; ``day`` counts from `EPOCH`'s date (0 where the store has no
    days); ``slot`` is the hash of (tenant, key), of the id where there is no key.
    """

    position: int
    id: bytes
    day: int
    slot: int
    occurred_at: int
    tenant_id: str
    name: str
    key: str | None
    payload: bytes
    headers: bytes | None

    @property
    def size(self) -> int:
        """Bytes of payload and headers."""
        return len(self.payload) + len(self.headers or b"")


def rows_of(values: Iterable[tuple[Any, ...]]) -> list[Row]:
    """Rows, from their values in order: what `Row._make` does, for many, without a Python call for each."""
    return list(map(_new_row, values))


_new_row: Callable[[tuple[Any, ...]], Row] = partial(tuple.__new__, Row)


class Event(msgspec.Struct, eq=False):
    """An immutable fact, as a handler receives it.

    The payload is decoded when it is first read, once. Build one by hand only in tests.

    Attributes:
        id: UUID, made by the publisher.
        tenant_id: 1 to 255 characters, ``"default"`` unless given.
        name: Dotted name such as ``"order.placed"``.
        key: Events of one key are handled in order; None asks for no order.
        occurred_at: Aware UTC datetime: given by the publisher, else the store's clock at publish.
    """

    row: Row
    _payload: Any = msgspec.UNSET
    _headers: Mapping[str, str] | None = None

    @classmethod
    def build(
        cls,
        name: str,
        payload: Any,
        *,
        event_id: UUID,
        tenant_id: str = "default",
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        occurred_at: datetime = EPOCH,
    ) -> Event:
        """An event that no store has seen, for tests of handlers. Nothing is validated."""
        encoded_headers = msgspec.json.encode(dict(headers)) if headers else None
        row = Row(
            0, event_id.bytes, 0, 0, to_micros(occurred_at), tenant_id, name, key,
            msgspec.json.encode(payload), encoded_headers,
        )  # fmt: skip
        return cls(row)

    @property
    def id(self) -> UUID:
        return UUID(bytes=self.row.id)

    @property
    def tenant_id(self) -> str:
        return self.row.tenant_id

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def key(self) -> str | None:
        return self.row.key

    @property
    def occurred_at(self) -> datetime:
        return from_micros(self.row.occurred_at)

    @property
    def payload(self) -> Any:
        """The payload as JSON types: dict, list, str, int, float, bool or None. Decoded once.

        Raises:
            MalformedEvent: Another program stored something that is not JSON, or has changed what was encrypted.
            PayloadLocked: It is encrypted, and there is no key for it here.
        """
        if self._payload is msgspec.UNSET:
            if is_encrypted(self.row.payload):
                raise unreadable(self.id, self.row.payload)
            self._payload = self._decode("payload", self.row.payload)
        return self._payload

    @property
    def is_erased(self) -> bool:
        """Whether its personal data was erased: the payload is a mask then, and ``erased_at`` is among the headers."""
        return self.row.payload == MASK

    @property
    def headers(self) -> Mapping[str, str]:
        """
        String headers, read-only; ``correlation_id`` and ``causation_id`` among them where known.

        Raises:
            MalformedEvent: Another program stored something else.
        """
        if self._headers is None:
            raw = self.row.headers
            decoded = None if raw is None else self._decode("headers", raw, dict[str, str] | None)
            self._headers = _NO_HEADERS if decoded is None else MappingProxyType(decoded)
        return self._headers

    def _decode(self, part: str, raw: bytes, kind: Any = Any) -> Any:
        try:
            return msgspec.json.decode(raw, type=kind)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise MalformedEvent(self.id, part, str(error)) from error

    @property
    def correlation_id(self) -> str:
        """Id shared by all events that go back to the same first event; its own id for that one."""
        return self.header("correlation_id") or str(self.id)

    @property
    def causation_id(self) -> str | None:
        """Id of the event whose handler published this one, else None."""
        return self.header("causation_id")

    @property
    def actor(self) -> str | None:
        """Who began what led to this event, as a publisher said by the header ``actor``; else None."""
        return self.header("actor")

    def header(self, name: str) -> str | None:
        """One header; None where it is missing, or where another program stored something else than headers."""
        try:
            return self.headers.get(name)
        except MalformedEvent:  # what another program has stored there need not spoil what is inherited
            return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and self.row.id == other.row.id

    def __hash__(self) -> int:
        return hash(self.row.id)

    def __reduce__(self) -> tuple[type[Event], tuple[Row]]:
        return Event, (self.row,)  # to other processes it goes as it was stored

    def __repr__(self) -> str:
        key = "" if self.key is None else f", key={self.key!r}"
        return f"<Event {self.id} {self.name!r}, tenant_id={self.tenant_id!r}{key}>"


class Published(NamedTuple):
    """What `publish` returns.

    Attributes:
        event_id: Id of the event, given or made.
        where: ``"store"``; ``"spool"`` (durable in a local file, on its way to the store);
            ``"memory"`` (only in this process, **not durable**).
        deduplicated: The same id and content was stored before; nothing was added.
    """

    event_id: UUID
    where: Literal["store", "spool", "memory"] = "store"
    deduplicated: bool = False
