"""Seal the log, and find what was changed in it since."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.desk import at_desk
from holdfast.cli.options import actor_option, duration, json_option, store_options
from holdfast.cli.output import show_json
from holdfast.errors import PermissionDenied
from holdfast.printable import clean
from holdfast.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from datetime import date, datetime

    from holdfast.cli.desk import Desk
    from holdfast.cli.options import Target
    from holdfast.sealing import Finding, Sealer, Summary
    from holdfast.stores.inspecting import Inspecting


@click.command("seal", short_help="Link what was stored to the chains that show later changes.")
@store_options
@click.option("--every", type=duration, metavar="TIME", help="Go on, once in so long (60s), until stopped.")
@click.option(
    "--anchors",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Append the ends of chains that have grown; on a disk that whoever can write the database cannot.",
)
@json_option
@actor_option
def seal_command(target: Target, every: float | None, anchors: Path | None, as_json: bool, actor: str) -> None:
    """Link the events stored so far to the hash chain of their day. With --every beside the workers."""

    async def work(opened: Desk) -> None:
        from holdfast.sealing import BESIDE_WORKERS, Sealer
        from holdfast.stores.inspecting import Inspecting
        from holdfast.stores.operating import Operating

        inspector, operator = opened.inspector, opened.operator
        assert isinstance(inspector, Inspecting)
        assert isinstance(operator, Operating)
        sealer = Sealer(inspector, operator, actor=actor, share=1.0 if every is None else BESIDE_WORKERS)

        async def one_round() -> None:
            await opened.store.open()  # each time: a server that has crashed is made known again
            await seal(sealer, inspector, anchors, as_json=as_json)

        await (one_round() if every is None else seal_on(one_round, every))

    at_desk(target, work, decrypts=False)  # chains are of what is stored


async def seal(sealer: Sealer, inspector: Inspecting, anchors: Path | None, *, as_json: bool) -> None:
    """One round, and its anchors."""
    from holdfast.sealing import write_anchors

    sealed = await sealer.seal()
    written = await write_anchors(inspector, anchors) if anchors is not None else None
    if as_json:
        show_json({"events": sealed.events, "segments": sealed.segments, "anchors": written})
        return
    said = "" if written is None else f", {counted(written, 'anchor')} written to {clean(str(anchors))}"
    click.echo(f"{counted(sealed.events, 'event')} sealed in {counted(sealed.segments, 'link')}{said}.")


async def seal_on(one_round: Callable[[], Coroutine[Any, Any, None]], every: float) -> None:
    """Round after round until SIGTERM or SIGINT; while the store is away it says so and tries again."""
    from holdfast.errors import StoreUnavailable
    from holdfast.running import until_signalled

    with until_signalled() as stop:
        while not stop.is_set():
            try:
                await one_round()
            except StoreUnavailable as error:
                click.echo(f"not sealed, trying again: {clean(str(error))}", err=True)
            try:
                await asyncio.wait_for(stop.wait(), every)
            except TimeoutError:
                continue


@click.command("verify", short_help="Find events that were edited, removed or inserted since they were sealed.")
@store_options
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="Only this day (UTC).")
@click.option(
    "--anchors",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Compare the chains with what  holdfast seal --anchors  wrote.",
)
@click.option("--limit", default=100, show_default=True, type=click.IntRange(0), help="Show at most so many findings.")
@actor_option
@json_option
def verify_command(
    target: Target, day: datetime | None, anchors: Path | None, limit: int, actor: str, as_json: bool
) -> None:
    """Compare the log with its seals, and these with each other and with anchors. Exit code 1 if something is wrong.

    The audit keeps that it was done, where this role may write it.
    """

    async def work(opened: Desk) -> tuple[list[Finding], Summary]:
        from holdfast.stores.inspecting import Inspecting

        assert isinstance(opened.inspector, Inspecting)
        of_day = day.date() if day else None
        found, summary = await verify(opened.inspector, of_day, anchors, limit, as_json=as_json)
        with suppress(PermissionDenied):  # whoever may only look may verify
            name = "the log" if of_day is None else of_day.isoformat()
            await opened.operator.verified(name, actor=actor, events=summary.sealed, sound=summary.is_sound)
        return found, summary

    found, summary = at_desk(target, work, decrypts=False)
    if as_json:
        show_json({"sound": summary.is_sound, "summary": summary, "findings": found})
    else:
        show(summary, hidden=max(0, sum(summary.found.values()) - limit))
    if not summary.is_sound:
        raise click.exceptions.Exit(1)


async def verify(
    inspector: Inspecting, day: date | None, anchors: Path | None, limit: int, *, as_json: bool
) -> tuple[list[Finding], Summary]:
    """The first findings, each printed at once unless JSON is wanted, and how much was looked at."""
    from holdfast.sealing import Verifier, read_anchors

    known: list[Any] = [] if anchors is None else await read_anchors(inspector, anchors)
    verifier = Verifier(inspector, day=day, anchors=known)
    found: list[Finding] = []
    async for finding in verifier.findings():
        if len(found) < limit:
            found.append(finding)
            if not as_json:
                click.echo(clean(str(finding)))
    return found, verifier.summary


def show(summary: Summary, *, hidden: int) -> None:
    if hidden:
        click.echo(f"and {counted(hidden, 'finding')} more: --limit shows them")
    verdict = "Nothing was changed" if summary.is_sound else "This log is not as it was sealed"
    parts = [
        f"{counted(summary.sealed, 'event')} as sealed",
        *(f"{count} {kind}" for kind, count in sorted(summary.found.items())),
        f"{summary.unsealed} not sealed yet",
        f"{summary.dropped} dropped by retention",
    ]
    links = (
        f"{counted(summary.segments, 'link')} of {counted(summary.days, 'day')}, {counted(summary.anchors, 'anchor')}"
    )
    click.echo(f"{verdict}: {', '.join(parts)}; {links}.")
