"""Logins of PostgreSQL that are bound to tenants."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from holdfast.cli.commands import WrongUsage
from holdfast.cli.desk import at_desk
from holdfast.cli.options import actor_option, json_option, store_options, yes_option
from holdfast.cli.output import confirm, show_json, show_table
from holdfast.printable import clean
from holdfast.wording import counted

if TYPE_CHECKING:
    from holdfast.cli.desk import Desk
    from holdfast.cli.options import Target
    from holdfast.stores.postgres.binding import Binding, TenantGrant


@click.group("roles", short_help="Logins that are bound to tenants (PostgreSQL).")
def roles_command() -> None:
    """Bind logins of PostgreSQL to tenants. The roles themselves are made by  holdfast migrate --roles ."""


@roles_command.group("tenant", short_help="Logins bound to tenants: list, add, remove.")
def tenant() -> None:
    """Who logs in as one sees and publishes events of its tenants, by SQL, and nothing else."""


@tenant.command("list", short_help="List them.")
@store_options
@json_option
def list_grants(target: Target, as_json: bool) -> None:
    """List the logins with their tenants, and why one sees more than that, if it does."""

    async def work(opened: Desk) -> list[TenantGrant]:
        return await binding(opened).tenant_grants()

    found = at_desk(target, work)
    if as_json:
        show_json(found)
        return
    rows = [(one.login, one.tenant_id, one.created_at, one.problem or "yes") for one in found]
    show_table(("login", "tenant", "since", "bound"), rows, empty="No login is bound to a tenant.")


@tenant.command("add", short_help="Bind a login to one more tenant.")
@store_options
@click.argument("login")
@click.argument("tenant_id", metavar="TENANT")
@actor_option
def add(target: Target, login: str, tenant_id: str, actor: str) -> None:
    """Bind LOGIN, a role that can log in and has no other rights here, to TENANT."""

    async def work(opened: Desk) -> None:
        await binding(opened).bind_tenant(login, tenant_id, actor=actor)

    at_desk(target, work)
    click.echo(f"{clean(login)} is bound to tenant {clean(tenant_id)}.")


@tenant.command("remove", short_help="Bind a login to a tenant no longer.")
@store_options
@click.argument("login")
@click.argument("tenant_id", metavar="[TENANT]", required=False)
@actor_option
@yes_option
def remove(target: Target, login: str, tenant_id: str | None, actor: str, yes: bool) -> None:
    """Take TENANT from LOGIN, or all of its tenants. It sees nothing of them from its next statement on."""

    async def work(opened: Desk) -> int:
        which = "all of its tenants" if tenant_id is None else f"tenant {tenant_id}"
        confirm(f"Take {which} from {login}?", yes=yes)
        return await binding(opened).unbind_tenant(login, tenant_id, actor=actor)

    removed = at_desk(target, work)
    click.echo(f"{clean(login)} is bound to {counted(removed, 'tenant')} less.")


def binding(opened: Desk) -> Binding:
    """The operator's part that binds. Raises WrongUsage on SQLite."""
    from holdfast.stores.sqlite.operating import SQLiteOperator

    if isinstance(opened.operator, SQLiteOperator):
        raise WrongUsage("an SQLite file has no roles: whoever can read it reads all of it")
    from holdfast.stores.postgres.binding import Binding

    assert isinstance(opened.operator, Binding)
    return opened.operator
