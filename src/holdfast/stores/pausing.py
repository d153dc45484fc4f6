"""What is changed while workers run: a subscription, or one tenant of it, is paused; more or fewer run at once."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING

from holdfast.errors import InvalidInput
from holdfast.names import check_tenant
from holdfast.stores.refusing import Refusing, check_actor, record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.stores.refusing import Action


CONCURRENCY_MAX = 10_000


class Pausing(Refusing, ABC):
    """The part of `holdfast.stores.operator.Operator` that pauses, resumes and says how many run at once."""

    async def pause(self, subscription: str, *, actor: str, tenant_id: str | None = None) -> bool:
        return await self._switch("pause", subscription, tenant_id, actor)

    async def resume(self, subscription: str, *, actor: str, tenant_id: str | None = None) -> bool:
        return await self._switch("resume", subscription, tenant_id, actor)

    async def _switch(self, action: str, subscription: str, tenant_id: str | None, actor: str) -> bool:
        detail = {} if tenant_id is None else {"tenant_id": tenant_id}
        async with self.refusals(actor, action, subscription, detail):
            if tenant_id is not None:
                check_tenant(tenant_id)
            await self._find(subscription)
            return await self.perform(switch(action, subscription, actor, detail, tenant_id=tenant_id))

    async def set_concurrency(self, subscription: str, concurrency: int | None, *, actor: str) -> bool:
        async with self.refusals(actor, "concurrency", subscription, {"to": concurrency}):
            if concurrency is not None and not 1 <= concurrency <= CONCURRENCY_MAX:
                raise InvalidInput("concurrency", f"is {concurrency}", f"use 1 to {CONCURRENCY_MAX:,}")
            await self._find(subscription)
            return await self.perform(set_concurrency(subscription, concurrency, actor))


def switch(
    action: str, subscription: str, actor: str, detail: Mapping[str, str] | None = None, *, tenant_id: str | None = None
) -> Action[bool]:
    """Pause or resume a subscription, or one tenant of it. Returns whether that changed anything."""
    check_actor(actor)  # before it is written as the one who paused
    one = {"name": subscription, "actor": actor}
    if tenant_id is None:
        changed = bool((yield action, one))
    else:
        changed = bool((yield f"{action}_tenant", one | {"tenant_id": tenant_id}))
    yield from record(actor, action, subscription, detail=detail, count=int(changed))
    yield "bump_generation", {}
    return changed


def set_concurrency(subscription: str, concurrency: int | None, actor: str) -> Action[bool]:
    """How many events are handled at once. Returns whether that changed anything."""
    changed = bool((yield "set_concurrency", {"name": subscription, "concurrency": concurrency}))
    yield from record(actor, "concurrency", subscription, detail={"to": concurrency}, count=int(changed))
    yield "bump_generation", {}
    return changed
