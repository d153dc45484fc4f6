"""Replay, pause, resume, skip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.commands import WrongUsage
from holdfast.cli.desk import at_desk, look
from holdfast.cli.options import (
    actor_option,
    event_filter_options,
    json_option,
    limit_option,
    store_options,
    tenant_option,
    yes_option,
)
from holdfast.cli.options import event_id as as_event_id
from holdfast.cli.output import confirm, progress, show_json, show_table
from holdfast.cli.table import Column
from holdfast.printable import clean
from holdfast.wording import counted, part_of

if TYPE_CHECKING:
    from holdfast.cli.desk import Desk
    from holdfast.cli.options import Target
    from holdfast.stores.records import Count


@click.command("replay", short_help="Deliver stored events again.")
@store_options
@click.argument("subscription", required=False)
@event_filter_options
@click.option("--from", "first_id", type=as_event_id, help="From this event on, it included.")
@click.option("--to", "last_id", type=as_event_id, help="Up to this event, it included.")
@click.option(
    "--rate",
    default=1000.0,
    show_default=True,
    type=click.FloatRange(0, 100_000, min_open=True),
    help="Events per second at most.",
)
@click.option("--dry-run", is_flag=True, help="Only count.")
@click.option(
    "--resume", "stopped", type=click.IntRange(1), metavar="N", help="Go on with replay N, which has stopped."
)
@click.option("--list", "listing", is_flag=True, help="List the replays there were.")
@limit_option
@json_option
@actor_option
@yes_option
def replay_command(
    target: Target, subscription: str | None, rate: float, dry_run: bool, stopped: int | None, listing: bool, limit: int,
    as_json: bool, actor: str, yes: bool, **filters: Any,
) -> None:  # fmt: skip
    """Deliver stored events again to SUBSCRIPTION, in the order of the log. Handlers see delivery.is_replay."""
    from holdfast.stores.filters import ReplayFilter

    if listing:
        list_replays(target, limit, as_json=as_json)
        return
    if stopped is not None:
        if subscription is not None or any(value is not None for value in filters.values()):
            raise WrongUsage("--resume goes on with what the replay was begun with: give nothing else")
        go_on(target, stopped, actor, as_json=as_json)
        return
    if subscription is None:
        raise WrongUsage("say which subscription shall get the events again, or --list")
    chosen = ReplayFilter(**filters)

    async def work(opened: Desk) -> tuple[int, int]:
        total = await opened.operator.replay_count(subscription, chosen)
        if dry_run or total == 0:
            return total, 0
        confirm(f"Deliver {counted(total, 'event')} again to {subscription}, {rate:g} a second?", yes=yes)
        with progress("Replaying", total) as advance:
            done = await opened.operator.replay(
                subscription, chosen, actor=actor, rate=rate, total=total, progress=advance
            )
        return total, done

    total, done = at_desk(target, work)
    if as_json:
        show_json({"subscription": subscription, "matching": total, "handed_over": done, "dry_run": dry_run})
    elif dry_run or total == 0:
        click.echo(f"{counted(total, 'event')} of {clean(subscription)} {'matches' if total == 1 else 'match'}.")
    else:
        others = "; the others are in their hands already" if done < total else ""
        click.echo(f"{done} of {counted(total, 'event')} {'is' if done == 1 else 'are'} handed to the workers{others}.")


def go_on(target: Target, replay: int, actor: str, *, as_json: bool) -> None:
    async def work(opened: Desk) -> int:
        known = next((one for one in await opened.inspector.replays(limit=10_000) if one.id == replay), None)
        with progress("Replaying", known.total if known else 0) as advance:
            return await opened.operator.go_on_replaying(replay, actor=actor, progress=advance)

    done = at_desk(target, work)
    if as_json:
        show_json({"replay": replay, "handed_over": done})
    else:
        click.echo(f"Replay {replay} is finished; {counted(done, 'event')} more handed to the workers.")


def list_replays(target: Target, limit: int, *, as_json: bool) -> None:
    found = look(target, lambda inspector: inspector.replays(limit=limit))
    if as_json:
        show_json(found)
        return
    columns = (
        "replay", "subscription", "done", "total", Column("rate", spare=3), "state", Column("actor", spare=1, cut=True),
        "created", Column("finished", spare=2),
    )  # fmt: skip
    rows = [
        (
            one.id, one.subscription, one.done, one.total, f"{one.rate:g}/s", "stopped" if one.stopped else one.state, one.actor, one.created_at,
            one.finished_at,
        )
        for one in found
    ]  # fmt: skip
    show_table(columns, rows, empty="No replay.")


@click.command("pause", short_help="Stop delivering to a subscription.")
@store_options
@click.argument("subscription")
@tenant_option
@actor_option
def pause_command(target: Target, subscription: str, tenant_id: str | None, actor: str) -> None:
    """Stop delivering to SUBSCRIPTION; events go on being stored for it. With --tenant, the others' go on."""
    changed = at_desk(target, lambda opened: opened.operator.pause(subscription, actor=actor, tenant_id=tenant_id))
    click.echo(f"{clean(part_of(subscription, tenant_id))} is paused{'' if changed else ' already'}.")


@click.command("resume", short_help="Go on delivering to a subscription.")
@store_options
@click.argument("subscription")
@tenant_option
@actor_option
def resume_command(target: Target, subscription: str, tenant_id: str | None, actor: str) -> None:
    """Go on delivering to SUBSCRIPTION. With --tenant, what was paused of one tenant alone."""
    changed = at_desk(target, lambda opened: opened.operator.resume(subscription, actor=actor, tenant_id=tenant_id))
    click.echo(f"{clean(part_of(subscription, tenant_id))} {'goes on' if changed else 'was not paused'}.")


@click.command("skip", short_help="Let a subscription go on from now.")
@store_options
@click.argument("subscription")
@click.option("--dry-run", is_flag=True, help="Only count.")
@actor_option
@yes_option
def skip_command(target: Target, subscription: str, dry_run: bool, actor: str, yes: bool) -> None:
    """Let SUBSCRIPTION go on from now: what it has not settled is passed over for good.

    Where workers run it, it is paused until they have given back its partitions, for 30 seconds at most.
    """

    async def work(opened: Desk) -> str:
        passed = await opened.operator.skip_count(subscription)
        if dry_run:
            return f"{events_of(passed)} would be passed over."
        confirm(f"Pass over {events_of(passed)} of {subscription} for good?", yes=yes)
        passed = await opened.operator.skip(subscription, actor=actor)
        return f"{clean(subscription)} goes on from now; {events_of(passed)} passed over."

    click.echo(at_desk(target, work))


def events_of(passed: Count) -> str:
    return ("about " if passed.kind == "estimate" else "") + counted(passed.events, "event")
