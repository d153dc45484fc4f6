"""What every action of an operator has in common: its transaction, its audit row, also where it is refused."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import msgspec

from holdfast.errors import (
    BusStateError,
    ConfigurationError,
    HoldfastError,
    InvalidInput,
    NotFound,
    PermissionDenied,
    PublishError,
)
from holdfast.names import TEXT_LENGTH_MAX, text_problem
from holdfast.stores.inspecting import find
from holdfast.wording import counted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from holdfast.stores.base import Store
    from holdfast.stores.filters import EventFilter
    from holdfast.stores.inspecting import Inspecting
    from holdfast.stores.records import SubscriptionRecord

Rows: TypeAlias = "list[tuple[Any, ...]]"
Result = TypeVar("Result")
Action: TypeAlias = Generator[tuple[str, dict[str, Any]], Rows, Result]

REFUSALS = (InvalidInput, NotFound, BusStateError, ConfigurationError, PermissionDenied, PublishError)
"""What refuses an action. Everything else stopped it on its way: the store was away."""


class Refusing(ABC):
    """Runs actions, and writes down which were refused, to whom and why."""

    def __init__(self, store: Store, inspector: Inspecting) -> None:
        self._store, self._inspector = store, inspector

    @abstractmethod
    async def perform(self, action: Action[Result]) -> Result:
        """Run *action* in one transaction."""

    @asynccontextmanager
    async def refusals(
        self, actor: str, action: str, target: str, detail: Mapping[str, Any] | None = None
    ) -> AsyncIterator[None]:
        """An error inside that refuses the action leaves an audit row with the reason, and goes on."""
        try:
            yield
        except REFUSALS as error:
            # Whoever may not write the audit, or is nobody, is refused all the same.
            with suppress(HoldfastError):
                reason = {**(detail or {}), "refused": str(error)}
                await self.perform(record(actor, action, target, detail=reason, allowed=False))
            raise

    async def _find(self, subscription: str) -> SubscriptionRecord:
        return find(await self._inspector.subscriptions(), subscription)


def record(
    actor: str,
    action: str,
    target: str,
    *,
    detail: Mapping[str, Any] | None = None,
    count: int | None = None,
    allowed: bool = True,
) -> Action[int]:
    """Write an audit row; returns its id. Raises InvalidInput (``actor``) where nobody could be named by it."""
    check_actor(actor)
    text = msgspec.json.encode(detail or {}).decode()
    parameters = {
        "actor": actor, "action": action, "target": target, "detail": text, "count": count, "allowed": allowed,
    }  # fmt: skip
    ((number,),) = yield "add_audit", parameters
    return int(number)


def given(filter: EventFilter) -> dict[str, Any]:
    """What a filter asks for, for the audit."""
    return {field: value for field, value in asdict(filter).items() if value is not None}


def check_actor(actor: str) -> None:
    problem = text_problem(actor) if 0 < len(actor) <= TEXT_LENGTH_MAX else f"has {len(actor)} characters"
    if problem is not None:
        raise InvalidInput("actor", problem, f"use 1 to {TEXT_LENGTH_MAX} characters that say who acts")


def count_in_audit(audit: int, count: int) -> Action[None]:
    yield "count_audit", {"audit": audit, "count": count}


def free_leases(subscription: SubscriptionRecord) -> Action[int]:
    """
    Lock the leases, so that nobody takes one meanwhile; returns the highest epoch.

    Raises:
        BusStateError: A live worker holds one.
    """
    leases = yield "lock_leases", {"subscription": subscription.id}
    if live := sum(bool(row[1]) for row in leases):
        raise BusStateError(
            f"live workers hold {live} of {counted(len(leases), 'partition')} of {subscription.name!r}: stop them first "
            f"(holdfast workers  lists them)"
        )
    return max((int(row[2]) for row in leases), default=0)


def without_workers(subscription: SubscriptionRecord) -> Action[int]:
    """
    `free_leases` of a subscription that no live worker runs: of one that is paused they hold none.

    Raises:
        BusStateError: One does.
    """
    if subscription.paused_at is not None:
        counts = yield "subscription_counts", {"tenant_id": None}
        if workers := next((int(row[7]) for row in counts if row[0] == subscription.id), 0):
            raise BusStateError(
                f"{counted(workers, 'live worker')} would go on with {subscription.name!r}, which is paused: stop them "
                f"first (holdfast workers  lists them)"
            )
    return (yield from free_leases(subscription))
