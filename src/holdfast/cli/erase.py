"""Erasing personal data of a tenant or a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from holdfast.cli.commands import WrongUsage
from holdfast.cli.desk import at_desk
from holdfast.cli.options import actor_option, json_option, store_options, tenant_option, yes_option
from holdfast.cli.output import confirm, progress, show_json
from holdfast.printable import clean
from holdfast.wording import counted

if TYPE_CHECKING:
    from holdfast.cli.desk import Desk
    from holdfast.cli.options import Target
    from holdfast.erased import Erasable, Erased


@click.command("erase", short_help="Erase personal data of a tenant or a key.")
@store_options
@tenant_option
@click.option("--key", help="Only this key.")
@click.option("--dry-run", is_flag=True, help="Only count what is in the store.")
@json_option
@actor_option
@yes_option
def erase_command(
    target: Target, tenant_id: str | None, key: str | None, dry_run: bool, as_json: bool, actor: str, yes: bool
) -> None:
    """Mask what events, dead letters, errors and this machine's spool say of a tenant, a key, or a key of a tenant.

    The events stay, as masks, with id, tenant, key, name, time and who erased them when. At the end stands what was not
    covered. Broken off, it is finished by running it again.
    """
    if tenant_id is None and key is None:
        raise WrongUsage("say whose data is to be erased: --tenant, --key or both")

    from holdfast.spool_folder import usual_folder
    from holdfast.stores.erasing import described as of_whom

    whose = of_whom(tenant_id, key)

    async def work(opened: Desk) -> Erasable | Erased:
        count = await opened.operator.erase_count(tenant_id=tenant_id, key=key)
        if dry_run:
            return count
        confirm(f"Erase {described(count)} of {whose}, and what is spooled, for good?", yes=yes)
        with progress("Erasing", count.events + count.deliveries) as advance:
            return await opened.operator.erase(
                actor=actor, tenant_id=tenant_id, key=key, spool=usual_folder(opened.store.address), progress=advance
            )

    found = at_desk(target, work)
    if as_json:
        show_json(found)
    elif dry_run:
        click.echo(f"{described(found)} of {clean(whose)} would be erased.")
        if found.keys:
            click.echo(f"{counted(found.keys, 'data key')} would be dropped.")
    else:
        show(found)  # type: ignore[arg-type]


def show(found: Erased) -> None:
    attempts = counted(found.attempts, "error of an attempt", "errors of attempts")
    click.echo(f"{described(found)} and {attempts} are erased.")
    if found.keys:
        click.echo(
            f"{counted(found.keys, 'data key is', 'data keys are')} dropped: what was encrypted with them cannot be read anywhere."
        )
    click.echo(f"In the spool of this machine: {found.spooled} waiting, {found.quarantined} refused by the store.")
    click.echo("Not covered:")
    for place in found.left:
        click.echo(f"  {clean(place)}")


def described(count: Erasable | Erased) -> str:
    return f"{counted(count.events, 'event')} and {counted(count.deliveries, 'delivery row')}"
