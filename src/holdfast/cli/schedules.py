"""What waits for its time: scheduled events and schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from holdfast.cli.desk import at_desk, look
from holdfast.cli.options import (
    actor_option,
    event_id,
    json_option,
    later,
    limit_option,
    store_options,
    tenant_option,
)
from holdfast.cli.output import show_json, show_table
from holdfast.cli.table import Column
from holdfast.printable import clean

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from holdfast.cli.options import Target


@click.group("scheduled", invoke_without_command=True, short_help="Events published for later: list, cancel, move.")
@store_options
@tenant_option
@limit_option
@json_option
@click.pass_context
def scheduled_command(ctx: click.Context, target: Target, tenant_id: str | None, limit: int, as_json: bool) -> None:
    """List the events that were published for later, the next one first; cancel one, or change when it is due."""
    if ctx.invoked_subcommand is not None:
        return
    found = look(target, lambda inspector: inspector.scheduled(tenant_id=tenant_id, limit=limit))
    if as_json:
        show_json(found)
        return
    columns = (
        "event", "due", "name", Column("tenant", spare=2), Column("key", spare=1, cut=True, quiet=True),
        Column("published", spare=3), Column("refused", quiet=True),
    )  # fmt: skip
    rows = [
        (one.event_id, one.due_at, one.name, one.tenant_id, one.key, one.published_at, one.refused_at) for one in found
    ]
    show_table(columns, rows, empty="No event waits for its time.")


@scheduled_command.command("cancel", short_help="Forget one.")
@store_options
@click.argument("event", type=event_id)
@actor_option
def cancel(target: Target, event: UUID, actor: str) -> None:
    """Forget an event that was published for later: no subscription will ever see it."""
    at_desk(target, lambda opened: opened.operator.cancel_scheduled(event, actor=actor))
    click.echo(f"{event} is cancelled.")


@scheduled_command.command("move", short_help="Change when one is due.")
@store_options
@click.argument("event", type=event_id)
@click.argument("when", type=later)
@actor_option
def move(target: Target, event: UUID, when: datetime, actor: str) -> None:
    """Change when an event is due: WHEN is 2030-01-31T12:00:00 (UTC), or 2h (from now)."""
    at_desk(target, lambda opened: opened.operator.reschedule(event, when, actor=actor))
    click.echo(f"{event} is due at {when.isoformat(timespec='seconds')}.")


@click.group("schedules", invoke_without_command=True, short_help="Schedules: list, pause, resume, remove.")
@store_options
@json_option
@click.pass_context
def schedules_command(ctx: click.Context, target: Target, as_json: bool) -> None:
    """List the schedules, whose times become events; pause, resume or remove one."""
    if ctx.invoked_subcommand is not None:
        return
    found = look(target, lambda inspector: inspector.schedules())
    if as_json:
        show_json(found)
        return
    columns = (
        "name", "rule", Column("zone", spare=2), Column("missed", spare=3), Column("tenant", spare=4), "next",
        Column("last", spare=1), Column("paused", quiet=True), Column("by", cut=True, quiet=True),
    )  # fmt: skip
    rows = [
        (
            one.name, one.rule, one.zone, one.missed, one.tenant_id, None if one.paused_at else one.next_at, one.last_at,
            one.paused_at, one.paused_by,
        )
        for one in found
    ]  # fmt: skip
    show_table(columns, rows, empty="There is no schedule.")


@schedules_command.command("pause", short_help="Make no more events of its times.")
@store_options
@click.argument("name")
@actor_option
def pause(target: Target, name: str, actor: str) -> None:
    """Make no events of a schedule's times, until it is resumed. What was made already is handled."""
    changed = at_desk(target, lambda opened: opened.operator.pause_schedule(name, actor=actor))
    click.echo(f"{clean(name)} {'is paused' if changed else 'was paused already'}.")


@schedules_command.command("resume", short_help="Go on, from its next time.")
@store_options
@click.argument("name")
@actor_option
def resume(target: Target, name: str, actor: str) -> None:
    """Go on with a schedule from its next time; what came due meanwhile is not made up for."""
    changed = at_desk(target, lambda opened: opened.operator.resume_schedule(name, actor=actor))
    click.echo(f"{clean(name)} {'goes on' if changed else 'was not paused'}.")


@schedules_command.command("remove", short_help="Forget one that no program declares any more.")
@store_options
@click.argument("name")
@actor_option
def remove(target: Target, name: str, actor: str) -> None:
    """Forget a schedule; a program that declares it makes it anew when it next starts. Its subscription stays."""
    at_desk(target, lambda opened: opened.operator.remove_schedule(name, actor=actor))
    click.echo(f"{clean(name)} is removed.")
