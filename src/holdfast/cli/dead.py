"""Dead letters: listed, retried, discarded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.commands import WrongUsage
from holdfast.cli.desk import at_desk, look
from holdfast.cli.options import (
    actor_option,
    before_option,
    event_filter_options,
    json_option,
    limit_option,
    store_options,
    tenant_option,
    yes_option,
)
from holdfast.cli.options import event_id as as_event_id
from holdfast.cli.output import confirm, progress, show_json, show_table, text_of
from holdfast.cli.table import Column
from holdfast.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from holdfast.cli.desk import Desk
    from holdfast.cli.options import Target
    from holdfast.stores.filters import DeadFilter


def dead_filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which deliveries are meant."""
    command = event_filter_options(command)
    for option in (
        click.option("--fingerprint", metavar="ID", help="Only of this group, as  dead list --groups  tells it."),
        click.option("--error", metavar="TEXT", help="Only where the last error contains this."),
        click.option("--event", "event_id", type=as_event_id, help="Only this event."),
        click.option("--subscription", metavar="NAME", help="Only of this subscription."),
    ):
        command = option(command)
    return command


def dead_filter(filters: dict[str, Any]) -> DeadFilter:
    from holdfast.stores.filters import DeadFilter

    return DeadFilter(**filters)


@click.group("dead", short_help="Dead letters: list, retry, discard.")
def dead_command() -> None:
    """Dead letters: deliveries that failed for good. --since and --until mean the time of death."""


@dead_command.command("list", short_help="List dead letters, the latest first.")
@store_options
@dead_filter_options
@click.option("--blocked", is_flag=True, help="Show which keys wait, and behind what.")
@click.option("--groups", is_flag=True, help="Show how many died of the same.")
@limit_option
@before_option
@json_option
def list_(
    target: Target, blocked: bool, groups: bool, limit: int, before: int | None, as_json: bool, **filters: Any
) -> None:
    """List dead letters, the latest first."""
    chosen = dead_filter(filters)
    if groups and blocked:
        raise WrongUsage("--groups and --blocked are two lists: give one of them")
    if groups:
        list_groups(target, chosen, limit, as_json=as_json)
        return
    if blocked:
        if any(filters[name] is not None for name in ("error", "fingerprint", "since", "until")):
            raise WrongUsage("--blocked goes with --subscription, --event, --name, --tenant and --key only")
        list_blocked(target, chosen, limit, as_json=as_json)
        return
    found = look(target, lambda inspector: inspector.dead(chosen, limit=limit, before=before))
    if as_json:
        show_json(found)
        return
    columns = (
        "event", "subscription", Column("name", spare=2, cut=True), Column("tenant", spare=3, cut=True),
        Column("key", spare=1, cut=True), Column("attempts", spare=4), "died", Column("reason", cut=True),
    )  # fmt: skip
    rows = [
        (
            one.event_id, one.subscription, one.name, one.tenant_id, one.key, one.attempts, one.died_at,
            one.reason or one.error,
        )
        for one in found
    ]  # fmt: skip
    show_table(columns, rows, empty="No dead letters.")
    if len(found) == limit:
        click.echo(f"There may be older ones: --before {found[-1].delivery}", err=True)


def list_groups(target: Target, chosen: DeadFilter, limit: int, *, as_json: bool) -> None:
    found = look(target, lambda inspector: inspector.dead_groups(chosen))
    if as_json:
        show_json(found)
        return
    columns = (
        "fingerprint", "subscription", "count", Column("first", spare=4), Column("last", spare=2),
        Column("sample", spare=3), Column("error", cut=True), Column("in", spare=1, cut=True),
    )  # fmt: skip
    rows = [
        (
            one.fingerprint, one.subscription, one.count, one.first_seen, one.last_seen, one.sample,
            ": ".join(part for part in (one.error, one.message) if part), one.frame,
        )
        for one in found.groups[:limit]
    ]  # fmt: skip
    show_table(columns, rows, empty="No dead letters.")
    if not found.complete:
        click.echo(f"The latest {counted(found.looked, 'dead letter')} were looked at; there are older ones.", err=True)


def list_blocked(target: Target, chosen: DeadFilter, limit: int, *, as_json: bool) -> None:
    found = look(target, lambda inspector: inspector.blocked(chosen, limit=limit))
    if as_json:
        show_json(found)
        return
    columns = (
        "subscription", Column("tenant", spare=4, cut=True), Column("key", cut=True), "held", "behind",
        Column("name", spare=3, cut=True), "state", Column("next try", spare=2), Column("reason", spare=1, cut=True),
    )  # fmt: skip
    rows = [
        (
            one.subscription, one.tenant_id, one.key, one.held, one.event_id, one.name, one.state,
            one.next_try_at, one.reason,
        )
        for one in found
    ]  # fmt: skip
    show_table(columns, rows, empty="Nothing is held.")


@dead_command.command("retry", short_help="Give dead letters fresh attempts.")
@store_options
@dead_filter_options
@click.option("--all", "everything", is_flag=True, help="Whatever is dead; needed where no filter is given.")
@actor_option
@yes_option
def retry(target: Target, everything: bool, actor: str, yes: bool, **filters: Any) -> None:
    """Give dead letters fresh attempts, now. Their history is kept."""
    chosen = chosen_filter(filters, everything=everything)

    async def work(opened: Desk) -> int:
        count = await opened.operator.matching(chosen)
        if count == 0:
            return 0
        confirm(f"Retry {counted(count, 'dead letter')} of {described(chosen)}?", yes=yes)
        with progress("Retrying", count) as advance:
            return await opened.operator.retry_dead(chosen, actor=actor, progress=advance)

    click.echo(f"{at_desk(target, work)} will be tried again.")


@dead_command.command("discard", short_help="Settle dead letters without handling them.")
@store_options
@dead_filter_options
@click.option("--all", "everything", is_flag=True, help="Whatever is dead; needed where no filter is given.")
@click.option("--held", is_flag=True, help="Pending and retrying deliveries too.")
@actor_option
@yes_option
def discard(target: Target, everything: bool, held: bool, actor: str, yes: bool, **filters: Any) -> None:
    """Settle dead letters without handling them. A record of each is kept."""
    chosen = chosen_filter(filters, everything=everything)

    async def work(opened: Desk) -> int:
        count = await opened.operator.matching(chosen, held=held)
        if count == 0:
            return 0
        kind = "dead, pending or retrying" if held else "dead"
        what = counted(count, f"{kind} delivery", f"{kind} deliveries")
        confirm(f"Discard {what} of {described(chosen)} for good?", yes=yes)
        with progress("Discarding", count) as advance:
            return await opened.operator.discard(chosen, held=held, actor=actor, progress=advance)

    click.echo(f"{counted(at_desk(target, work), 'is', 'are')} discarded.")


@dead_command.command("correct", short_help="Publish a dead letter's event anew with another payload.")
@store_options
@click.argument("event_id", type=as_event_id, metavar="ID")
@click.argument("payload", metavar="JSON")
@click.option("--subscription", required=True, metavar="NAME", help="Whose dead letter it is.")
@click.option(
    "--may-edit", is_flag=True, envvar="HOLDFAST_MAY_EDIT", help="Off unless this says so. [env HOLDFAST_MAY_EDIT]"
)
@tenant_option
@actor_option
@yes_option
def correct(
    target: Target, event_id: UUID, payload: str, subscription: str, may_edit: bool, tenant_id: str | None, actor: str,
    yes: bool,
) -> None:  # fmt: skip
    """Publish the event ID anew with the payload JSON, and discard its dead letter.

    The event itself stays as it is. Every subscription of its name gets the new one, which says what it corrects and
    who wrote it.
    """
    content = payload.encode("utf-8", "surrogateescape")

    async def work(opened: Desk) -> UUID:
        confirm(f"Publish event {event_id} anew, and discard its dead letter of {subscription}?", yes=yes)
        return await opened.operator.correct(
            subscription, event_id, content, actor=actor, may_edit=may_edit, tenant_id=tenant_id
        )

    click.echo(at_desk(target, work))


def described(filter: DeadFilter) -> str:
    """Whose deliveries a filter means, and which, for a question."""
    parts = {
        "event": filter.event_id, "name": filter.name, "tenant": filter.tenant_id, "key": filter.key,
        "error": filter.error, "fingerprint": filter.fingerprint, "since": filter.since, "until": filter.until,
    }  # fmt: skip
    asked = [f"{name} {text_of(value)}" for name, value in parts.items() if value is not None]
    return ", ".join([filter.subscription or "all subscriptions", *asked])


def chosen_filter(filters: dict[str, Any], *, everything: bool) -> DeadFilter:
    """The filter of an action, which must not be everything by oversight."""
    if not everything and not any(value is not None for value in filters.values()):
        raise WrongUsage("say which: a filter such as --subscription or --event, or --all")
    return dead_filter(filters)
