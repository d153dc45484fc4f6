"""Doctor: what is wrong with the store and around it, and how to put it right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from holdfast.cli.desk import at_desk
from holdfast.cli.options import json_option, store_options
from holdfast.cli.output import show_json
from holdfast.errors import HoldfastError
from holdfast.printable import clean
from holdfast.stores.records import Fact

if TYPE_CHECKING:
    from holdfast.cli.desk import Desk
    from holdfast.cli.options import Target

_MARKS = {"ok": ("ok", "green"), "note": ("note", "yellow"), "problem": ("PROBLEM", "red")}


@click.command("doctor")
@store_options
@json_option
def doctor_command(target: Target, as_json: bool) -> None:
    """Check the store, its settings and its subscriptions. Exit code 1 if there is a problem."""
    facts = at_desk(target, examine, must_exist=False)
    if as_json:
        show_json(facts)
    else:
        for fact in facts:
            show(fact)
    if any(fact.level == "problem" for fact in facts):
        raise click.exceptions.Exit(1)


async def examine(opened: Desk) -> list[Fact]:
    """The facts of the store, and what its subscriptions' figures come to."""
    facts = await opened.inspector.facts()
    facts.append(spool_fact(opened.spooled))
    if any(fact.level == "problem" for fact in facts):
        return facts  # the rest would only say the same in other words
    try:
        status = await opened.inspector.status()
    except HoldfastError as error:
        return [*facts, Fact("subscriptions", str(error), "problem", "see above, or grant the role what it lacks")]
    level = {"OK": "ok", "DEGRADED": "note", "STALLED": "problem"}[status.verdict.health]
    value = f"{status.verdict.health}, {len(status.subscriptions)} registered, {status.workers} live workers"
    facts.append(Fact("subscriptions", value, level, "see the reasons below" if level != "ok" else ""))  # type: ignore[arg-type]
    return facts + [Fact("reason", reason, level) for reason in status.verdict.reasons]  # type: ignore[arg-type]


def spool_fact(size: int) -> Fact:
    if size == 0:
        return Fact("spool", "empty on this machine")
    fix = "start a worker or publish here: it drains when the store can be reached"
    return Fact("spool", f"{size} bytes of events wait on this machine", "note", fix)


def show(fact: Fact) -> None:
    mark, colour = _MARKS[fact.level]
    click.echo(f"{click.style(f'{mark:8}', fg=colour)}{fact.name}: {clean(fact.value)}")
    if fact.fix and fact.level != "ok":
        click.echo(f"        -> {clean(fact.fix)}")
