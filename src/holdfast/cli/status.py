"""Looking: status, events, one event, workers, leases."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.commands import WrongUsage
from holdfast.cli.desk import at_desk, look
from holdfast.cli.options import (
    before_option,
    event_filter_options,
    json_option,
    limit_option,
    store_options,
    tenant_option,
)
from holdfast.cli.options import event_id as as_event_id
from holdfast.cli.output import advised, show_json, show_sentence, show_table, text_of
from holdfast.cli.table import Column
from holdfast.encrypted import is_sealed
from holdfast.printable import clean
from holdfast.wording import counted, lasted

if TYPE_CHECKING:
    from uuid import UUID

    from holdfast.cli.desk import Desk
    from holdfast.cli.options import Target
    from holdfast.stores.inspector import Inspector
    from holdfast.stores.keys import MasterKeyRecord
    from holdfast.stores.records import (
        AttemptRecord,
        CausationNode,
        CausationTree,
        Count,
        DeliveryRecord,
        EventDetail,
        EventPage,
        Status,
        WorkerRecord,
    )

_STATUSES = ("pending", "processing", "processed", "failed", "dead")
_COLOURS = {"OK": "green", "DEGRADED": "yellow", "STALLED": "red"}


@click.command("status", short_help="Say how every subscription is doing.")
@store_options
@tenant_option
@json_option
def status_command(target: Target, tenant_id: str | None, as_json: bool) -> None:
    """Say how every subscription is doing. Exit code 1 when STALLED."""

    async def ask(opened: Desk) -> Status:
        return await opened.inspector.status(spool=opened.spool, tenant_id=tenant_id)

    found = at_desk(target, ask)
    if as_json:
        show_json(found)
    else:
        show_status(found)
    if found.verdict.health == "STALLED":
        raise click.exceptions.Exit(1)


def show_status(found: Status) -> None:
    health = str(found.verdict.health)
    click.echo(f"{click.style(health, fg=_COLOURS[health], bold=True)}, {counted(found.workers, 'live worker')}")
    for reason in found.verdict.reasons:
        show_sentence("  ", reason.text)
        show_sentence("    -> ", advised(reason.fix))
    click.echo()
    columns = (
        "subscription", "lag", "oldest", Column("pending", quiet=True), Column("retrying", quiet=True),
        Column("running", spare=3, quiet=True), "dead", Column("partitions", spare=2), Column("workers", spare=1),
        Column("state", quiet=True),
    )  # fmt: skip
    rows = [
        (
            one.name, f"about {one.lag}" if one.backlog_estimated else one.lag, one.lag_seconds, one.pending, one.retrying,
            one.running, one.dead, f"{one.owned}/{one.owned + one.free}", one.workers, "paused" if one.paused else None,
        )
        for one in found.subscriptions
    ]  # fmt: skip
    show_table(columns, rows, empty="No subscription is registered: holdfast migrate MODULE:BUS, or start a worker.")


@click.command("events", short_help="List events.")
@store_options
@event_filter_options
@click.option("--status", type=click.Choice(_STATUSES), help="Only events of this status.")
@click.option("--correlation", "correlation_id", metavar="ID", help="Only what goes back to this first event.")
@click.option("--payload", "match", metavar="PATH=VALUE", help="Only this value in the payload, such as order.id=13.")
@click.option("--count", "only_count", is_flag=True, help="Only say about how many there are.")
@limit_option
@before_option
@json_option
def events_command(
    target: Target, status: str | None, correlation_id: str | None, match: str | None, only_count: bool, limit: int,
    before: int | None, as_json: bool, **filters: Any,
) -> None:  # fmt: skip
    """List events, the newest first. Of what no index leads to, 10,000 events are looked at in one go."""
    from holdfast.stores.filters import EventFilter, PayloadMatch

    chosen = EventFilter(**filters)
    if only_count:
        if any((status, correlation_id, match)):
            raise WrongUsage("--count goes with --name, --tenant, --key, --since and --until only")
        show_count(look(target, lambda inspector: inspector.estimate(chosen)), as_json=as_json)
        return
    payload = None if match is None else PayloadMatch.parse(match)

    async def work(inspector: Inspector) -> tuple[EventPage, list[MasterKeyRecord]]:
        page = await inspector.events(
            chosen, status=status, correlation_id=correlation_id, payload=payload, limit=limit, before=before
        )
        return page, [] if payload is None else await inspector.keys()

    page, keys = look(target, work)
    if keys:
        click.echo("Payloads that are encrypted were not searched: nothing finds what is in them.", err=True)
    if as_json:
        show_json(page)
        return
    columns = (
        "id", Column("name", cut=True), Column("tenant", spare=2, cut=True), Column("key", spare=1, cut=True), "status",
        Column("retries", spare=3, quiet=True), "occurred", Column("processed", spare=4), Column("bytes", spare=5),
    )  # fmt: skip
    rows = [
        (
            one.id, one.name, one.tenant_id, one.key, one.status, one.retries, one.occurred_at, one.processed_at,
            one.payload_bytes,
        )
        for one in page.events
    ]  # fmt: skip
    show_table(columns, rows, empty="No such event.")
    if page.next_before is not None:
        how_far = f"Looked at {counted(page.looked, 'event')}, back to {text_of(page.back_to)}. "
        click.echo(f"{how_far}There may be older ones: --before {page.next_before}", err=True)
    if page.would_help is not None:
        click.echo(advised(f"An index leads there at once: holdfast indexes add {page.would_help}"), err=True)


def show_count(found: Count, *, as_json: bool) -> None:
    if as_json:
        show_json(found)
    else:
        about = {"exact": "", "estimate": "about ", "at least": "at least "}[found.kind]
        click.echo(about + counted(found.events, "event"))


@click.command("event", short_help="Show one event and what became of it.")
@store_options
@click.argument("event_id", type=as_event_id, metavar="ID")
@click.option("--causation", is_flag=True, help="Show what caused it, and what it caused.")
@tenant_option
@json_option
def event_command(target: Target, event_id: UUID, causation: bool, tenant_id: str | None, as_json: bool) -> None:
    """Show one event: its content, and what became of it in each subscription."""
    if causation:
        tree = look(target, lambda inspector: inspector.causation(event_id, tenant_id=tenant_id))
        if as_json:
            show_json(tree)
        else:
            show_tree(tree)
        return
    found = look(target, lambda inspector: inspector.event(event_id, tenant_id=tenant_id))
    if as_json:
        show_json(found)
    else:
        show_event(found)


def show_event(found: EventDetail) -> None:
    import msgspec

    for label, value in (
        ("id", found.id), ("name", found.name), ("tenant", found.tenant_id), ("key", found.key),
        ("occurred", found.occurred_at), ("stored", "in the log" if found.in_log else "dropped from the log"),
    ):  # fmt: skip
        click.echo(f"{label:9} {text_of(value)}")
    if found.headers:
        click.echo(f"headers   {clean(msgspec.json.encode(found.headers).decode())}")
    if is_sealed(found.payload):
        click.echo("payload   encrypted, and there is no key for it here (HOLDFAST_MASTER_KEYS_FILE)")
    else:
        show_payload(found.payload)
    if not found.deliveries:
        click.echo("\nNo subscription is concerned.")
    for delivery in found.deliveries:
        show_delivery(delivery)


def show_payload(payload: Any) -> None:
    import msgspec

    text = msgspec.json.format(msgspec.json.encode(payload), indent=2).decode()
    click.echo(f"payload   {indented(clean(text, lines=True))}")


def show_tree(tree: CausationTree) -> None:
    """Each event below its cause, a step further in; the one that was asked for is marked."""
    effects: dict[str | None, list[CausationNode]] = {}
    for node in tree.nodes[1:]:
        effects.setdefault(node.cause, []).append(node)
    first, *_ = tree.nodes
    ahead = [(first, 0)]
    while ahead:
        node, depth = ahead.pop()
        event = node.event
        mark = "*" if event.id == tree.event_id else "-"
        told = f"{event.name}, tenant {event.tenant_id}, {text_of(event.occurred_at)}, {event.status}"
        click.echo(f"{'  ' * depth}{mark} {event.id} {clean(told)}")
        ahead += [(one, depth + 1) for one in reversed(effects.get(str(event.id), []))]
    if first.cause is not None:
        click.echo(f"The first one was caused by {clean(first.cause)}, which is not among them.")
    if not tree.complete:
        click.echo("There may be more.", err=True)
    if tree.would_help is not None:
        click.echo(advised(f"An index leads there at once: holdfast indexes add {tree.would_help}"), err=True)


def indented(text: str) -> str:
    """Further lines stand below the first, behind the label."""
    return text.replace("\n", f"\n{' ' * 10}")


def show_delivery(delivery: DeliveryRecord) -> None:
    notes = [f"attempts {delivery.attempts}"]
    if delivery.put_offs:
        notes.append(f"put off {counted(delivery.put_offs, 'time')}")
    if delivery.is_replay:
        notes.append("a replay")
    if delivery.held_behind is not None:
        notes.append(f"held behind {delivery.held_behind}")
    if delivery.next_try_at is not None:
        due = delivery.next_try_at <= datetime.now(UTC)
        notes.append("due now" if due else f"next try {text_of(delivery.next_try_at)}")
    if delivery.processed_at is not None:
        notes.append(f"processed {text_of(delivery.processed_at)}")
    if delivery.paused:
        notes.append("subscription paused")
    click.echo(f"\n{clean(delivery.subscription)}: {delivery.state}, {', '.join(notes)}")
    if delivery.reason:
        click.echo(f"  reason: {clean(delivery.reason)}")
    for one in delivery.history:
        click.echo(
            f"  attempt {one.attempt}, {text_of(one.finished_at)}, {one.outcome} after {lasted(one.seconds)}: "
            f"{clean(error_of(one))}"
        )
        for line in (one.traceback or "").splitlines():
            click.echo(f"    {clean(line)}")


def error_of(attempt: AttemptRecord) -> str:
    """Type and message, once: what a handler raised is recorded with its type in front."""
    if attempt.message.startswith(attempt.error):
        return attempt.message
    return f"{attempt.error}: {attempt.message}"


@click.command("workers", short_help="List workers.")
@store_options
@json_option
def workers_command(target: Target, as_json: bool) -> None:
    """List the workers that have a row, live or not."""
    found = look(target, lambda inspector: inspector.workers())
    if as_json:
        show_json(found)
        return
    columns = (
        "worker", Column("host", cut=True), "pid", Column("version", spare=4), Column("leases", spare=1), "state",
        Column("started", spare=3), Column("heartbeat", spare=2), Column("subscriptions", spare=5, cut=True),
    )  # fmt: skip
    rows = [
        (
            one.id, one.host, one.pid, one.version, one.leases, state_of(one), one.started_at, one.heartbeat_at,
            one.subscriptions,
        )
        for one in found
    ]  # fmt: skip
    show_table(columns, rows, empty="No worker.")


def state_of(worker: WorkerRecord) -> str:
    if not worker.live:
        return "gone"
    return "draining" if worker.draining else "live"


@click.command("leases", short_help="List partitions with their owners.")
@store_options
@click.option("--subscription", metavar="NAME", help="Only of this subscription.")
@json_option
def leases_command(target: Target, subscription: str | None, as_json: bool) -> None:
    """List partitions with their owners and cursors."""
    found = look(target, lambda inspector: inspector.leases(subscription))
    if as_json:
        show_json(found)
        return
    columns = (
        "subscription", "partition", "owner", "until", Column("live", spare=3), Column("epoch", spare=1),
        Column("clean", spare=4), Column("crashes", spare=2, quiet=True), Column("moved", spare=5),
    )  # fmt: skip
    rows = [
        (
            one.subscription, one.partition, one.owner, one.lease_until, one.live, one.epoch, one.clean, one.crashes,
            one.moved_at,
        )
        for one in found
    ]  # fmt: skip
    show_table(columns, rows, empty="No subscription is registered.")
