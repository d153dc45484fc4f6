"""Logins that are bound to tenants: they see and publish what is of these, and nothing else."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import InvalidInput, NotFound
from holdfast.names import check_tenant
from holdfast.stores.columns import as_moment
from holdfast.stores.refusing import Refusing, record

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.stores.refusing import Action


@dataclass(frozen=True, slots=True)
class TenantGrant:
    """A login and a tenant that it is bound to. ``problem``: why it sees more than that; None: it does not."""

    login: str
    tenant_id: str
    created_at: datetime
    problem: str | None


class Binding(Refusing, ABC):
    """What `PostgresOperator` does beside `holdfast.stores.operator.Operator`: roles are PostgreSQL's alone."""

    async def tenant_grants(self) -> list[TenantGrant]:
        """By login and tenant."""
        rows = await self._inspector.rows("tenant_grants")
        return [TenantGrant(login, tenant, as_moment(at), problem) for login, tenant, at, problem in rows]

    async def bind_tenant(self, login: str, tenant_id: str, *, actor: str) -> None:
        """
        Bind *login* to one more tenant. Sessions that are open are bound at their next statement.

        Raises:
            InvalidInput: It cannot log in, or could see more: as a member of another role, as owner or superuser.
            PermissionDenied: Who asks neither owns the tables nor may grant the role ``tenant``.
        """
        async with self.refusals(actor, "tenant add", login, {"tenant_id": tenant_id}):
            await self.perform(bind(login, check_tenant(tenant_id, None), actor))

    async def unbind_tenant(self, login: str, tenant_id: str | None, *, actor: str) -> int:
        """
        End it for a tenant, or, None, for all of them. Returns how many.

        Raises:
            NotFound: It was not bound.
            PermissionDenied: As `bind_tenant`.
        """
        async with self.refusals(actor, "tenant remove", login, {"tenant_id": tenant_id}):
            return await self.perform(unbind(login, tenant_id, actor))


def bind(login: str, tenant_id: str, actor: str) -> Action[None]:
    ((problem,),) = yield "unbound_because", {"login": login}
    if problem is not None:
        raise InvalidInput(
            "login", f"{login!r} cannot be bound to a tenant: {problem}",
            "give a role that can log in and has no rights of its own here",
        )  # fmt: skip
    yield "bind_tenant", {"login": login, "tenant": tenant_id}
    yield from record(actor, "tenant add", login, detail={"tenant_id": tenant_id}, count=1)


def unbind(login: str, tenant_id: str | None, actor: str) -> Action[int]:
    ((removed,),) = yield "unbind_tenant", {"login": login, "tenant": tenant_id}
    if not removed:
        raise NotFound(
            f"login {login!r} is not bound to {'any tenant' if tenant_id is None else f'tenant {tenant_id!r}'}"
        )
    yield from record(actor, "tenant remove", login, detail={"tenant_id": tenant_id}, count=removed)
    return int(removed)
