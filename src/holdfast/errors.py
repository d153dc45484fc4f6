"""Every error Holdfast raises, in one hierarchy.

::

    HoldfastError
    ├── ConfigurationError           the bus, the store or the environment is set up wrongly
    │   ├── MissingExtra             an optional dependency is not installed
    │   ├── SchemaMismatch           the tables are missing, older or newer than this release
    │   └── WrongStore               not the store (database, system, kind) that was expected
    ├── InvalidInput (ValueError)    refused at the door; nothing was written
    │   ├── InvalidEvent             name, tenant, key, id, payload, headers or time of an event
    │   │   └── PayloadTooLarge
    │   ├── InvalidSubscription      pattern, option or handler of a subscription
    │   │   ├── DuplicateSubscription
    │   │   └── IncompatibleSubscription
    │   └── InvalidSignature         an incoming webhook whose signature is missing, wrong or too old
    ├── PublishError                 a publish that did not happen, or may not have
    │   ├── IdConflict               the id exists with other content
    │   ├── OutcomeUnknown           the answer to the commit was lost
    │   ├── QuotaExceeded            the tenant has published as much as it may
    │   ├── TransactionError         the connection given as ``tx=`` cannot take an event
    │   │   ├── NotInTransaction
    │   │   ├── TransactionAborted
    │   │   └── TransactionRequired  ``require_tx="strict"`` and no ``tx=``
    │   └── SpoolError               the local spool cannot take or give an event
    │       ├── SpoolFull
    │       └── SpoolPending         a ``tx=`` publish behind a spooled event of its key
    ├── StoreError                   the store refused or failed
    │   ├── StoreUnavailable         it cannot be reached now; trying again may help
    │   │   ├── StoreBusy            its write lock, or a snapshot, is in the way
    │   │   └── KeysUnavailable      the provider of the master keys does not answer
    │   └── PermissionDenied
    ├── RelayError                   a broker that events go to or come from
    │   ├── BrokerUnreachable        it does not answer, or cannot take anything now; trying again may help
    │   ├── BrokerRefused            login, rights or the place in it are not as the address says
    │   └── MessageRefused           it will not have this one message
    ├── MalformedEvent               a stored event that cannot be decoded; its deliveries end dead
    ├── PayloadLocked                an encrypted payload, and no key for it here
    ├── LeaseLost                    another worker owns the partition now
    ├── DrainTimeout (TimeoutError)
    ├── NotFound (LookupError)       no such event, subscription or delivery
    └── BusStateError (RuntimeError) another loop, no loop, forked

    Retry, Reject                    raised *by handlers* to say what shall become of a delivery

Facts are attributes and stand in the text; payloads stand in neither. All survive pickling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.wording import counted, lasted

if TYPE_CHECKING:
    from datetime import timedelta
    from uuid import UUID


class HoldfastError(Exception):
    """Root of all errors that Holdfast raises by itself."""


class ConfigurationError(HoldfastError):
    """The bus, the store or the environment is set up wrongly; the text says what to change."""


class MissingExtra(ConfigurationError):
    """An optional dependency is needed and not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(package, extra, purpose)
        self.package, self.extra, self.purpose = package, extra, purpose

    def __str__(self) -> str:
        return f"{self.purpose} needs the package {self.package!r}: run  pip install 'holdfast[{self.extra}]'"


class SchemaMismatch(ConfigurationError):
    """The tables of the store are missing, or of another version than this release works with.

    *hint*: What else may be the matter where they are missing.
    """

    def __init__(self, where: str, found: int | None, wanted: int, hint: str = "") -> None:
        super().__init__(where, found, wanted, hint)
        self.where, self.found, self.wanted, self.hint = where, found, wanted, hint

    def __str__(self) -> str:
        if self.found is None:
            return f"no Holdfast tables in {self.where}: run  holdfast migrate{self.hint}"
        if self.found < self.wanted:
            return (
                f"{self.where} has schema version {self.found}, this release needs {self.wanted}: run  holdfast migrate"
            )
        return (
            f"{self.where} has schema version {self.found}, this release knows only {self.wanted}: "
            f"upgrade the package here, or undo the migration"
        )


class WrongStore(ConfigurationError):
    """This is not the store that was expected: another database, a restored copy, a standby, another kind."""


class InvalidInput(HoldfastError, ValueError):
    """Something given by the caller breaks a rule. Nothing was written.

    Attributes:
        field: The parameter or the path in it, such as ``"name"`` or ``"payload.items[3].price"``.
        rule: What would be right.
        index: Position in the list given to ``publish_many``, else None.
    """

    def __init__(self, field: str, problem: str, rule: str, index: int | None = None) -> None:
        super().__init__(field, problem, rule, index)
        self.field, self.problem, self.rule, self.index = field, problem, rule, index

    def __str__(self) -> str:
        item = "" if self.index is None else f"item {self.index}: "
        return f"{item}{self.field} {self.problem}; {self.rule}"


class InvalidEvent(InvalidInput):
    """An event that cannot be stored as it is."""


class PayloadTooLarge(InvalidEvent):
    """The encoded payload is larger than ``max_payload``."""

    def __init__(self, size: int, limit: int, index: int | None = None) -> None:
        InvalidInput.__init__(
            self,
            "payload",
            f"has {size} bytes as JSON",
            f"at most {limit} are allowed (EventBus(max_payload=...)); store large content elsewhere and send its address",
            index,
        )
        self.args = (size, limit, index)
        self.size, self.limit = size, limit


class InvalidSubscription(InvalidInput):
    """A subscription whose pattern, handler, name or policy breaks a rule."""


class DuplicateSubscription(InvalidSubscription):
    """Two handlers ask for the same durable name."""

    def __init__(self, name: str, known: str, other: str) -> None:
        InvalidInput.__init__(
            self,
            "name",
            f"{name!r} already belongs to {known}; {other} cannot have it too",
            "give one of them another name=",
        )
        self.args = (name, known, other)
        self.name, self.known, self.other = name, known, other


class IncompatibleSubscription(InvalidSubscription):
    """A stored subscription differs in a way that a new declaration cannot change by itself."""

    def __init__(self, name: str, field: str, stored: Any, declared: Any, remedy: str) -> None:
        InvalidInput.__init__(
            self, field, f"of subscription {name!r} is stored as {stored!r} and declared as {declared!r}", remedy
        )
        self.args = (name, field, stored, declared, remedy)
        self.name, self.stored, self.declared = name, stored, declared


class InvalidSignature(InvalidInput):
    """A webhook that is not from whom it should be, or too old: its signature is missing, wrong or out of its window."""


class PublishError(HoldfastError):
    """A publish that did not happen, or of which nobody can say."""


class IdConflict(PublishError):
    """An event with this id is stored already, with other content. Nothing was written."""

    def __init__(self, event_id: UUID, index: int | None = None) -> None:
        super().__init__(event_id, index)
        self.event_id, self.index = event_id, index

    def __str__(self) -> str:
        item = "" if self.index is None else f"item {self.index}: "
        return (
            f"{item}event {self.event_id} is stored already with another name, tenant, key or payload; "
            f"an id names one fact for ever: give this event its own"
        )


class OutcomeUnknown(PublishError):
    """The answer to the commit was lost and could not be found out. The event may be stored.

    Publishing again with ``event_id=error.event_ids[0]`` and the same content is safe.
    """

    def __init__(self, event_ids: tuple[UUID, ...]) -> None:
        super().__init__(event_ids)
        self.event_ids = event_ids

    def __str__(self) -> str:
        shown = ", ".join(str(event_id) for event_id in self.event_ids[:3])
        more = f" and {len(self.event_ids) - 3} more" if len(self.event_ids) > 3 else ""
        return f"the store's answer was lost for {shown}{more}: publish again with the same event_id, which is safe"


class QuotaExceeded(PublishError):
    """A tenant has published as many events as its quota lets in. Nothing was stored.

    Attributes:
        tenant_id: Whose quota it is.
        events: What the quota lets in.
        per: In what time, counted back from now.
        left: How many more it would have let in.
        number: How many there are of the tenant in what was refused.
        retry_after: Seconds after which the log is looked at again.
    """

    def __init__(
        self, tenant_id: str, events: int, per: timedelta, left: int, number: int, retry_after: float
    ) -> None:  # fmt: skip
        super().__init__(tenant_id, events, per, left, number, retry_after)
        self.tenant_id, self.events, self.per = tenant_id, events, per
        self.left, self.number, self.retry_after = max(0, left), number, max(0.0, retry_after)

    def __str__(self) -> str:
        return (
            f"tenant {self.tenant_id!r} may publish {counted(self.events, 'event')} in {lasted(self.per.total_seconds())}, "
            f"{self.left} more now, and these are {self.number}: nothing was stored; try again in "
            f"{lasted(self.retry_after)} or later, or give the tenant more by EventBus(quota=...)"
        )


class TransactionError(PublishError):
    """The connection or session given as ``tx=`` cannot take an event."""


class NotInTransaction(TransactionError):
    """The connection given as ``tx=`` is in autocommit and has no open transaction."""


class TransactionAborted(TransactionError):
    """The connection given as ``tx=`` is closed, or its transaction has failed."""


class TransactionRequired(TransactionError):
    """The bus was made with ``require_tx="strict"`` and publish was called without ``tx=``."""


class SpoolError(PublishError):
    """The local spool cannot be written or read; the event was not accepted."""


class SpoolFull(SpoolError):
    """The store is away and the spool has reached its bound; the event was not accepted."""

    def __init__(self, path: str, size: int, limit: int) -> None:
        super().__init__(path, size, limit)
        self.path, self.size, self.limit = path, size, limit

    def __str__(self) -> str:
        return (
            f"the store cannot be reached and the spool {self.path} is full ({self.size} of {self.limit} bytes): "
            f"bring the store back, or give EventBus(spool_limit=...) more"
        )


class SpoolPending(SpoolError):
    """A ``tx=`` publish whose key has an event in the spool that is not in the store yet.

    Storing it now would put it before the earlier one. Try again once the spool has drained.
    """


class StoreError(HoldfastError):
    """The store refused or failed an operation.

    Attributes:
        code: SQLSTATE of PostgreSQL or the extended result code name of SQLite, where there is one.
    """

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message, code)
        self.message, self.code = message, code

    def __str__(self) -> str:
        return self.message if self.code is None else f"{self.message} [{self.code}]"


class StoreUnavailable(StoreError):
    """The store cannot be reached, or cannot take writes, now. Trying again later may help.

    Attributes:
        maybe_done: The connection was lost after the request was sent: it may have been carried out.
    """

    def __init__(self, message: str, code: str | None = None, *, maybe_done: bool = False) -> None:
        super().__init__(message, code)
        self.maybe_done = maybe_done


class StoreBusy(StoreUnavailable):
    """A lock or a stale snapshot is in the way. Roll back and try again."""


class KeysUnavailable(StoreUnavailable):
    """The provider of the master keys failed. Payloads can be neither encrypted nor read until it answers."""


class PermissionDenied(StoreError):
    """The role lacks a privilege; the text names it."""


class RelayError(HoldfastError):
    """A broker that a relay sends to, or an ingest takes from, is in the way."""


class BrokerUnreachable(RelayError):
    """The broker does not answer, or cannot take anything now. What was sent may have arrived."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(where, problem)
        self.where, self.problem = where, problem

    def __str__(self) -> str:
        return f"{self.where} cannot be reached: {self.problem}"


class BrokerRefused(RelayError):
    """The broker is there, and something is not as the address says: login, rights, queue, stream or topic."""

    def __init__(self, where: str, problem: str, remedy: str) -> None:
        super().__init__(where, problem, remedy)
        self.where, self.problem, self.remedy = where, problem, remedy

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}; {self.remedy}"


class MessageRefused(RelayError):
    """The broker will not have this one message. *final*: nor would it at another time."""

    def __init__(self, where: str, message_id: str, problem: str, *, final: bool = False) -> None:
        super().__init__(where, message_id, problem, final)
        self.where, self.message_id, self.problem, self.final = where, message_id, problem, final

    def __reduce__(self) -> tuple[Any, ...]:
        return _message_refused, self.args

    def __str__(self) -> str:
        return f"{self.where}: message {self.message_id} is refused: {self.problem}"


def _message_refused(where: str, message_id: str, problem: str, final: bool) -> MessageRefused:
    return MessageRefused(where, message_id, problem, final=final)


class MalformedEvent(HoldfastError):
    """A stored event cannot be decoded: another program wrote something that is not JSON."""

    def __init__(self, event_id: UUID, part: str, problem: str) -> None:
        super().__init__(event_id, part, problem)
        self.event_id, self.part, self.problem = event_id, part, problem

    def __str__(self) -> str:
        return f"{self.part} of event {self.event_id} cannot be decoded: {self.problem}"


class PayloadLocked(HoldfastError):
    """The payload of an event is encrypted, and this reader cannot decrypt it. Its delivery is tried again.

    Attributes:
        because: What is missing.
    """

    def __init__(self, event_id: UUID, because: str) -> None:
        super().__init__(event_id, because)
        self.event_id, self.because = event_id, because

    def __str__(self) -> str:
        return f"payload of event {self.event_id} is encrypted: {self.because}"


class LeaseLost(HoldfastError):
    """Another worker owns this partition now; what this one had in hand must not be recorded as failed."""

    def __init__(self, subscription: str, partition: int, epoch: int) -> None:
        super().__init__(subscription, partition, epoch)
        self.subscription, self.partition, self.epoch = subscription, partition, epoch

    def __str__(self) -> str:
        return (
            f"lease lost: subscription {self.subscription!r}, partition {self.partition}, epoch {self.epoch}: "
            f"another worker has taken it over; raise lease_ttl if this one was only slow"
        )


class DrainTimeout(HoldfastError, TimeoutError):
    """``drain`` ran out of time. ``unsettled`` maps subscription names to events not settled."""

    def __init__(self, timeout: float, unsettled: dict[str, int]) -> None:
        super().__init__(timeout, unsettled)
        self.timeout, self.unsettled = timeout, unsettled

    def __str__(self) -> str:
        counts = ", ".join(f"{name}: {count}" for name, count in sorted(self.unsettled.items()))
        return f"not settled after {self.timeout:g} s: {counts or 'events of the spool'}"


class NotFound(HoldfastError, LookupError):
    """No event, subscription or delivery answers to that name or id."""


class BusStateError(HoldfastError, RuntimeError):
    """The bus cannot do this now: it belongs to another loop or process, or no loop runs."""


class Retry(Exception):
    """Raised by a handler: deliver again in *after* seconds; not counted as a failure.

    Args:
        after: Seconds from now, 0 to 31,536,000. None takes the delay of the first failure.

    A delivery may be put off 1,000 times; then it is dead.
    """

    def __init__(self, after: float | None = None) -> None:
        given: Any = after  # handlers without a type checker give other things
        if given is not None and not (isinstance(given, int | float) and 0 <= given <= 31_536_000):
            from holdfast.names import shown_value

            raise InvalidInput("Retry.after", f"is {shown_value(given)}", "use 0 to 31536000 seconds")
        super().__init__(after)
        self.after = after


class Reject(Exception):
    """Raised by a handler: this event will never succeed here; it is dead at once, with *reason*."""

    def __init__(self, reason: str = "rejected by the handler") -> None:
        super().__init__(reason)
        self.reason = str(reason)
