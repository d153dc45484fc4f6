"""Doctor: what is wrong with the store and around it, and how to put it right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from holdfast.cli.desk import at_desk
from holdfast.cli.options import json_option, store_options
from holdfast.cli.output import advised, show_json, show_sentence, without_password
from holdfast.errors import HoldfastError, PermissionDenied
from holdfast.health import Health, spool_reasons
from holdfast.stores.records import Fact
from holdfast.wording import counted

if TYPE_CHECKING:
    from holdfast.cli.desk import Desk
    from holdfast.cli.options import Target
    from holdfast.health import Reason
    from holdfast.stores.records import Level, SpoolFolder
    from holdfast.stores.scheduling import ScheduledRecord, ScheduleRecord
    from holdfast.stores.storage import Seals, SearchIndex

_LATE = timedelta(minutes=2)
_LOOKED_AT = 1_000
_MARKS = {"ok": ("ok", "green"), "note": ("note", "yellow"), "problem": ("PROBLEM", "red")}
_LEVELS: dict[Health, Level] = {Health.OK: "ok", Health.DEGRADED: "note", Health.STALLED: "problem"}


@click.command("doctor", short_help="Check the store, its settings and its subscriptions.")
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
    facts += spool_facts(opened.spool)
    if any(fact.level == "problem" for fact in facts):
        return facts  # the rest would only say the same in other words
    try:
        status = await opened.inspector.status()
    except HoldfastError as error:
        return [*facts, Fact("subscriptions", str(error), "problem")]
    facts.append(index_fact(await opened.inspector.search_indexes()))
    facts.append(await examine_seals(opened))
    facts += due_facts(
        datetime.now(UTC), await opened.inspector.scheduled(limit=_LOOKED_AT), await opened.inspector.schedules()
    )
    registered, workers = len(status.subscriptions), counted(status.workers, "live worker")
    health = status.verdict.health
    facts.append(Fact("subscriptions", f"{health}, {registered} registered, {workers}", _LEVELS[health]))
    return facts + [as_fact("reason", reason) for reason in status.verdict.reasons]


def spool_facts(spool: SpoolFolder | None) -> list[Fact]:
    found = [as_fact("spool", reason) for reason in spool_reasons(spool)] if spool else []
    return found or [Fact("spool", "empty on this machine")]


def index_fact(indexes: list[SearchIndex]) -> Fact:
    broken = [one.name for one in indexes if one.state == "incomplete"]
    if broken:
        fix = "; ".join(f"run  holdfast indexes add {name}" for name in broken)
        return Fact("search indexes", f"the build of {', '.join(broken)} was broken off", "note", fix)
    return Fact("search indexes", ", ".join(one.name for one in indexes if one.state == "ready") or "none")


def due_facts(now: datetime, scheduled: list[ScheduledRecord], schedules: list[ScheduleRecord]) -> list[Fact]:
    """Whether what is due comes into the log."""
    facts = []
    if refused := [one for one in scheduled if one.refused_at is not None]:
        found = f"{counted(len(refused), 'event')} refused when due, as another event has the id: {refused[0].event_id}"
        facts.append(Fact("scheduled events", found, "problem", "look at both, then  holdfast scheduled cancel ID"))
    late = [one for one in scheduled if one.refused_at is None and now - one.due_at > _LATE]
    if late:
        waits = f"{counted(len(late), 'event')} overdue, the first since {late[0].due_at:%Y-%m-%d %H:%M:%SZ}"
        facts.append(Fact("scheduled events", waits, "problem", "start a worker of any program on this store"))
    still = [one.name for one in schedules if one.paused_at is None and now - one.next_at > _LATE]
    if still:
        fix = "start a worker of the program that declares it, or  holdfast schedules remove NAME"
        facts.append(Fact("schedules", f"nobody makes events of {', '.join(still)}", "problem", fix))
    return facts or [Fact("what is due", "nothing is overdue")]


async def examine_seals(opened: Desk) -> Fact:
    try:
        return seal_fact(await opened.inspector.seals())
    except PermissionDenied:  # that of a worker, which may not read the audit
        return Fact("seals", "not to be seen by this role")


def seal_fact(seals: Seals) -> Fact:
    if not seals.days:
        return Fact("seals", "none; holdfast seal  makes edited, removed and inserted events show")
    until = "" if seals.until is None else f" up to {seals.until:%Y-%m-%d %H:%M:%SZ}"
    sealed = f"{counted(seals.events, 'event')}{until}, {seals.behind} not sealed yet"
    if seals.verified_at is None:
        return Fact("seals", f"{sealed}; never verified", "note", "run  holdfast verify")
    verified = f"{sealed}; verified {seals.verified_at:%Y-%m-%d %H:%M:%SZ}"
    if not seals.sound:
        return Fact(
            "seals", f"{verified}: the log is not as it was sealed", "problem", "run  holdfast verify  to see what"
        )
    return Fact("seals", f"{verified}: nothing was changed")


def as_fact(name: str, reason: Reason) -> Fact:
    return Fact(name, reason.text, _LEVELS[reason.health], reason.fix)


def show(fact: Fact) -> None:
    mark, colour = _MARKS[fact.level]
    show_sentence(click.style(f"{mark:8}", fg=colour), without_password(advised(f"{fact.name}: {fact.value}")))
    if fact.fix and fact.level != "ok":
        show_sentence(f"{'':8}-> ", advised(fact.fix))
