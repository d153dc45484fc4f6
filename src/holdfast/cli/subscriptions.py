"""Subscriptions: listed, renamed, removed, repartitioned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.desk import at_desk, look
from holdfast.cli.options import actor_option, json_option, store_options, yes_option
from holdfast.cli.output import confirm, show_json, show_table
from holdfast.cli.table import Column
from holdfast.printable import clean
from holdfast.wording import counted

if TYPE_CHECKING:
    from holdfast.cli.desk import Desk
    from holdfast.cli.options import Target
    from holdfast.stores.records import SubscriptionStatus

_force = click.option("--force", is_flag=True, help="Even while live workers run it.")


@click.group(
    "subscriptions",
    invoke_without_command=True,
    short_help="Subscriptions: list, rename, remove, repartition, concurrency.",
)
@store_options
@json_option
@click.pass_context
def subscriptions_command(ctx: click.Context, target: Target, as_json: bool) -> None:
    """List the registered subscriptions; rename, remove, repartition one."""
    if ctx.invoked_subcommand is not None:
        return
    found = look(target, lambda inspector: inspector.subscriptions())
    if as_json:
        show_json(found)
        return
    columns = (
        "name", Column("patterns", cut=True), "partitions", Column("ordering", spare=2), Column("on dead", spare=3),
        Column("behind retention", spare=2, quiet=True), Column("at once", spare=2, quiet=True),
        Column("replayable", spare=4), Column("paused", quiet=True), Column("by", spare=1, cut=True, quiet=True),
        Column("paused tenants", cut=True, quiet=True), Column("created", spare=5),
    )  # fmt: skip
    rows = [
        (
            one.name, one.patterns, one.partitions, one.ordering, one.on_dead,
            None if one.behind_retention == "hold" else one.behind_retention, one.concurrency, one.replayable,
            one.paused_at, one.paused_by, one.paused_tenants, one.created_at,
        )
        for one in found
    ]  # fmt: skip
    show_table(columns, rows, empty="No subscription is registered.")


@subscriptions_command.command("rename", short_help="Give a subscription another name.")
@store_options
@click.argument("name")
@click.argument("new_name")
@_force
@actor_option
def rename(target: Target, name: str, new_name: str, force: bool, actor: str) -> None:
    """Give a subscription another durable name; the program must declare it under that name from then on."""

    async def work(opened: Desk) -> None:
        warn(await status_of(opened, name), force=force)
        await opened.operator.rename(name, new_name, actor=actor, force=force)

    at_desk(target, work)
    click.echo(f"{clean(name)} is now {clean(new_name)}.")


@subscriptions_command.command("remove", short_help="Forget a subscription, with its cursors and deliveries.")
@store_options
@click.argument("name")
@_force
@actor_option
@yes_option
def remove(target: Target, name: str, force: bool, actor: str, yes: bool) -> None:
    """Forget a subscription, with its cursors and deliveries. Events it has not handled stay unhandled."""

    async def work(opened: Desk) -> int:
        found = await status_of(opened, name)
        warn(found, force=force)
        if found and (force or not found.owned):  # else it is refused, and there is nothing to ask
            lag = counted(found.lag, "event")
            confirm(f"Remove {name}: {lag} not handled, {found.dead} dead. Go on?", yes=yes)
        return await opened.operator.remove(name, actor=actor, force=force)

    removed = at_desk(target, work)
    click.echo(f"{clean(name)} is removed, with {counted(removed, 'delivery row')}.")


class _Concurrency(click.IntRange):
    """A number, or ``declared``."""

    name = "number or 'declared'"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return None if value == "declared" else super().convert(value, param, ctx)


@subscriptions_command.command("concurrency", short_help="Change how many events are handled at once.")
@store_options
@click.argument("name")
@click.argument("number", type=_Concurrency(1, 10_000))
@actor_option
def concurrency(target: Target, name: str, number: int | None, actor: str) -> None:
    """
    Change how many events of a subscription each worker handles at once, while they run.

    It holds whatever the program declares, until NUMBER is the word declared.
    """
    changed = at_desk(target, lambda opened: opened.operator.set_concurrency(name, number, actor=actor))
    at_once = "as many events at once as declared" if number is None else f"{counted(number, 'event')} at once"
    click.echo(f"{clean(name)} handles {at_once}{'' if changed else ' already'}.")


@subscriptions_command.command("repartition", short_help="Change the number of partitions.")
@store_options
@click.argument("name")
@click.argument("partitions", type=click.IntRange(1, 1024))
@actor_option
@yes_option
def repartition(target: Target, name: str, partitions: int, actor: str, yes: bool) -> None:
    """Change the number of partitions of a subscription whose workers are stopped."""

    async def work(opened: Desk) -> None:
        found = await status_of(opened, name)
        if found and not found.owned and found.free != partitions:  # else it is refused
            asked = counted(partitions, "partition")
            confirm(f"Give {name} {asked} in place of {found.free}? All read again from its oldest cursor.", yes=yes)
        await opened.operator.repartition(name, partitions, actor=actor)

    at_desk(target, work)
    click.echo(f"{clean(name)} has {counted(partitions, 'partition')}; declare partitions={partitions} in the program.")


async def status_of(opened: Desk, name: str) -> SubscriptionStatus | None:
    status = await opened.inspector.status(retention=None)
    return next((one for one in status.subscriptions if one.name == name), None)


def warn(found: SubscriptionStatus | None, *, force: bool) -> None:
    """Say what --force passes over."""
    if found and found.owned and force:
        runs = counted(found.workers, "live worker runs", "live workers run")
        click.echo(f"{runs} {clean(found.name)} and must be restarted, with a program that fits.", err=True)
