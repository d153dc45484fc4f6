"""What can be done: each action first says what it would do and to how many, then does it, and the audit keeps it.

An action is a page of its own, so that it can be linked, read without a script, and tried as any other page. Its filter
stands in the URL; the form adds what only the person can say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlencode

import msgspec

from holdfast.dashboard.access import Actor, Role
from holdfast.dashboard.asking import DEAD_FIELDS, Ask
from holdfast.dashboard.board import Board
from holdfast.dashboard.refusal import Refusal
from holdfast.dashboard.rendering import indented
from holdfast.errors import InvalidInput, NotFound
from holdfast.stores.filters import DeadFilter
from holdfast.wording import counted, part_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.stores.records import DeadLetter

_REPLAY_FIELDS = ("subscription", "event", "name", "tenant", "key", "since", "until")
_RATE, _RATE_MAX = 1000, 100_000


@dataclass(frozen=True, slots=True)
class Question:
    """
    What somebody is asked before an action is done.

    Attributes:
        text: What would happen, with how many.
        button: What the button says.
        kept: The query that the form is sent with; the moment of counting may have been added to it.
        count: How many are concerned; None where that is not the point. With 0 there is no button.
        fields: What the form asks for: name, label and value.
        content: A text to be edited.
    """

    text: str
    button: str
    kept: str
    count: int | None = None
    fields: tuple[tuple[str, str, str], ...] = ()
    content: str | None = None


Asking: TypeAlias = Callable[[Board, Ask], Awaitable[Question]]
Doing: TypeAlias = Callable[[Board, Ask, Actor, "Mapping[str, str]"], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Action:
    """
    Something that can be done.

    Attributes:
        verb: In the URL.
        recorded: In the audit, as the operator's own rows say it.
        role: Who may do it.
        ask: Says what would be done.
        do: Does it, and returns a sentence about it.
        back: Path and query of where to go afterwards, or instead.
    """

    verb: str
    recorded: str
    title: str
    role: Role
    ask: Asking
    do: Doing
    back: Callable[[Ask], str]


async def require_allowed(board: Board, action: Action, ask: Ask, actor: Actor, *, trying: bool) -> None:
    """Raise Refusal where *actor* may not do this; with *trying*, the audit keeps it."""
    reason = None
    if board.read_only:
        reason = "this dashboard is read-only"
    elif action.verb == "correct" and not board.may_edit:
        reason = "correcting dead letters is off (--may-edit)"
    elif not actor.role.includes(action.role):
        reason = f"it takes the role {action.role}, and {actor.name} is {actor.role}"
    if reason is not None:
        if trying:
            await board.refuse(actor, action.recorded, target_of(ask), reason)
        raise Refusal(403, f"{action.title} is not allowed", f"{reason[0].upper()}{reason[1:]}.")


async def perform(board: Board, action: Action, ask: Ask, actor: Actor, form: Mapping[str, str]) -> str:
    """Do it. Returns what to say. What the store refuses stands in the audit, too: it writes that itself."""
    await require_allowed(board, action, ask, actor, trying=True)
    try:
        return await action.do(board, ask, actor, form)
    finally:
        board.changed()


def target_of(ask: Ask) -> str:
    """What an action is about, for the audit."""
    return (ask["subscription"] or ask["schedule"] or ask["event"] or "all subscriptions")[:200].replace("\0", "")


# Pause and resume


async def _ask_pause(board: Board, ask: Ask) -> Question:
    part, parameters = await _part(board, ask)
    others = "; those of other tenants are delivered meanwhile" if "tenant" in parameters else ""
    text = f"Stop delivering to {part}. Its events go on being stored, and wait until it is resumed{others}."
    return Question(text, "Pause", urlencode(parameters))


async def _part(board: Board, ask: Ask) -> tuple[str, dict[str, str]]:
    """The subscription, or the tenant of it, that is to be paused or resumed, and what says so in a form."""
    name, tenant = await _known(board, ask), ask.text("tenant")
    return part_of(name, tenant), {"subscription": name} | ({} if tenant is None else {"tenant": tenant})


async def _pause(board: Board, ask: Ask, actor: Actor, _form: Mapping[str, str]) -> str:
    name, tenant = ask.require("subscription"), ask.text("tenant")
    changed = await board.operator.pause(name, actor=actor.name, tenant_id=tenant)
    return f"{part_of(name, tenant)} is paused{'' if changed else ' already'}."


async def _ask_resume(board: Board, ask: Ask) -> Question:
    part, parameters = await _part(board, ask)
    return Question(f"Go on delivering to {part}.", "Resume", urlencode(parameters))


async def _resume(board: Board, ask: Ask, actor: Actor, _form: Mapping[str, str]) -> str:
    name, tenant = ask.require("subscription"), ask.text("tenant")
    changed = await board.operator.resume(name, actor=actor.name, tenant_id=tenant)
    return f"{part_of(name, tenant)} {'goes on' if changed else 'was not paused'}."


# Dead letters: all that match, not what a page happens to show


async def _ask_retry(board: Board, ask: Ask) -> Question:
    count = await board.operator.matching(ask.dead_filter())
    text = f"Give {counted(count, 'dead letter')} of {described(ask)} fresh attempts, now. Their history is kept."
    return Question(text, f"Retry {count:,}", _counted_until_now(ask), count)


async def _retry(board: Board, ask: Ask, actor: Actor, _form: Mapping[str, str]) -> str:
    changed = await board.operator.retry_dead(ask.dead_filter(), actor=actor.name)
    return f"{counted(changed, 'dead letter')} will be tried again."


async def _ask_discard(board: Board, ask: Ask) -> Question:
    count = await board.operator.matching(ask.dead_filter())
    text = f"Settle {counted(count, 'dead letter')} of {described(ask)} without handling. This cannot be taken back."
    return Question(text, f"Discard {count:,}", _counted_until_now(ask), count)


async def _discard(board: Board, ask: Ask, actor: Actor, _form: Mapping[str, str]) -> str:
    changed = await board.operator.discard(ask.dead_filter(), actor=actor.name)
    return f"{counted(changed, 'dead letter is', 'dead letters are')} discarded."


def _counted_until_now(ask: Ask) -> str:
    """The filter, bounded to what was there to be counted."""
    until = ask.text("until") or datetime.now(UTC).isoformat()
    return ask.kept(DEAD_FIELDS, until=until)


def described(ask: Ask) -> str:
    """What a filter means, in words."""
    parts = [f"{name} {ask[name]}" for name in DEAD_FIELDS if name != "subscription" and ask.text(name)]
    return ", ".join([ask["subscription"] or "all subscriptions", *parts])


# Replay


async def _ask_replay(board: Board, ask: Ask) -> Question:
    name = await _known(board, ask)
    count = await board.operator.replay_count(name, ask.replay_filter())
    text = (
        f"Deliver {counted(count, 'event')} of {described(ask)} again, in the order of the log. "
        f"Handlers see that it is a replay."
    )
    fields = (("rate", "Events per second at most", str(_RATE)),)
    return Question(text, f"Replay {count:,}", ask.kept(_REPLAY_FIELDS), count, fields)


async def _replay(board: Board, ask: Ask, actor: Actor, form: Mapping[str, str]) -> str:
    name, chosen = ask.require("subscription"), ask.replay_filter()
    rate = Ask(form).number("rate", high=_RATE_MAX) or _RATE
    try:
        total = await board.operator.replay_count(name, chosen)
    except (InvalidInput, NotFound) as error:  # counting alone is no action, and leaves no row
        await board.refuse(actor, "replay", name, str(error))
        raise
    board.begin(_replaying(board, name, chosen, actor, rate, total))
    return f"The replay of {counted(total, 'event')} to {name} has begun."


async def _replaying(board: Board, name: str, chosen: Any, actor: Actor, rate: float, total: int) -> None:
    try:
        await board.operator.replay(name, chosen, actor=actor.name, rate=rate, total=total)
    finally:
        board.changed()


async def _ask_go_on(board: Board, ask: Ask) -> Question:
    name, number = await _known(board, ask), ask.number("replay")
    found = next((one for one in await board.inspector.replays(limit=10_000) if one.id == number), None)
    if found is None or not found.stopped:
        raise NotFound(f"no replay {number} that has stopped")
    text = (
        f"Go on with the replay of {counted(found.total, 'event')} to {name} where it has stopped: "
        f"{counted(found.total - found.done, 'event is', 'events are')} left."
    )
    return Question(text, "Go on", ask.kept(("subscription", "replay")))


async def _go_on(board: Board, ask: Ask, actor: Actor, _form: Mapping[str, str]) -> str:
    number = ask.number("replay") or 0
    board.begin(_going_on(board, number, actor))
    return f"Replay {number} goes on."


async def _going_on(board: Board, number: int, actor: Actor) -> None:
    try:
        await board.operator.go_on_replaying(number, actor=actor.name)
    finally:
        board.changed()


# What waits for its time


async def _ask_pause_schedule(board: Board, ask: Ask) -> Question:
    name = await _known_schedule(board, ask)
    text = f"Make no events of the times of {name} from now on. What was made already is handled."
    return Question(text, "Pause", ask.kept(("schedule",)))


async def _pause_schedule(board: Board, ask: Ask, actor: Actor, _form: Mapping[str, str]) -> str:
    name = ask.require("schedule")
    changed = await board.operator.pause_schedule(name, actor=actor.name)
    return f"{name} is paused{'' if changed else ' already'}."


async def _ask_resume_schedule(board: Board, ask: Ask) -> Question:
    name = await _known_schedule(board, ask)
    text = f"Go on with {name} from its next time on. What came due meanwhile is not made up for."
    return Question(text, "Resume", ask.kept(("schedule",)))


async def _resume_schedule(board: Board, ask: Ask, actor: Actor, _form: Mapping[str, str]) -> str:
    name = ask.require("schedule")
    changed = await board.operator.resume_schedule(name, actor=actor.name)
    return f"{name} {'goes on' if changed else 'was not paused'}."


async def _known_schedule(board: Board, ask: Ask) -> str:
    """The schedule that is asked for. Raises NotFound."""
    name = ask.require("schedule")
    if name not in {one.name for one in await board.inspector.schedules()}:
        raise NotFound(f"no schedule {name!r}")
    return name


async def _ask_cancel_scheduled(board: Board, ask: Ask) -> Question:  # noqa: ARG001 - nothing is counted
    text = f"Forget event {ask.id('event')}, which was published for later. No subscription will ever see it."
    return Question(text, "Cancel the event", ask.kept(("event",)))


async def _cancel_scheduled(board: Board, ask: Ask, actor: Actor, _form: Mapping[str, str]) -> str:
    ask.require("event")
    if (event_id := ask.id("event")) is not None:
        await board.operator.cancel_scheduled(event_id, actor=actor.name)
    return f"Event {event_id} is cancelled."


# Skip and correct


async def _ask_skip(board: Board, ask: Ask) -> Question:
    name = ask.require("subscription")
    ahead = await board.operator.skip_count(name)
    about = "about " if ahead.kind == "estimate" else ""
    text = (
        f"Let {name} go on from now and pass over {about}{counted(ahead.events, 'event')} for good. While its workers end "
        f"what they have in hand it is paused. Dead letters stay, and a replay brings the events back."
    )
    return Question(text, "Skip to now", urlencode({"subscription": name}))


async def _skip(board: Board, ask: Ask, actor: Actor, _form: Mapping[str, str]) -> str:
    name = ask.require("subscription")
    passed = await board.operator.skip(name, actor=actor.name)
    about = "about " if passed.kind == "estimate" else ""
    return f"{name} goes on from now; {about}{counted(passed.events, 'event was', 'events were')} passed over."


async def _ask_correct(board: Board, ask: Ask) -> Question:
    letter = await _letter(board, ask)
    text = (
        f"Publish the event anew with another payload, and discard this dead letter of {letter.subscription}. The event "
        f"itself stays as it is; the new one names it as its cause, and you as its author. Every subscription of "
        f"{letter.name} gets it."
    )
    kept = ask.kept(("subscription", "event"))
    return Question(text, "Publish anew", kept, content=indented(letter.payload))


async def _correct(board: Board, ask: Ask, actor: Actor, form: Mapping[str, str]) -> str:
    letter = await _letter(board, ask)
    try:
        payload = msgspec.json.decode(form.get("payload", ""))
    except (msgspec.DecodeError, RecursionError) as error:
        await board.refuse(actor, "dead correct", letter.subscription, "the payload is no JSON")
        raise InvalidInput("payload", "is no JSON", str(error)) from error
    made = await board.operator.correct(
        letter.subscription, letter.event_id, payload, actor=actor.name, may_edit=board.may_edit
    )
    return f"Published anew as {made}."


async def _letter(board: Board, ask: Ask) -> DeadLetter:
    """The dead letter that is asked for. Raises Refusal where some of it must not be seen, so cannot be kept."""
    event_id, name = ask.id("event"), ask.require("subscription")
    found = await board.inspector.dead(DeadFilter(subscription=name, event_id=event_id), limit=1)
    if not found or event_id is None:
        raise NotFound(f"no dead letter of event {event_id} for {name!r} (any more)")
    if board.redaction.hides(found[0].payload):
        raise Refusal(403, "It cannot be corrected here", "The redaction rules hide a part of the payload.")
    return found[0]


async def _known(board: Board, ask: Ask) -> str:
    """The subscription that is asked for. Raises NotFound."""
    name = ask.require("subscription")
    await board.inspector.leases(name)
    return name


def _to_subscription(ask: Ask) -> str:
    if ask.text("event"):
        return f"/events/{ask.id('event')}"
    return f"/subscription?{urlencode({'name': ask['subscription']})}"


def _to_dead(ask: Ask) -> str:
    if ask.text("event"):
        return f"/events/{ask.id('event')}"
    query = ask.kept([name for name in DEAD_FIELDS if name != "until"])
    return f"/dead?{query}" if query else "/dead"


def _to_schedules(_: Ask) -> str:
    return "/schedules"


ACTIONS = {
    action.verb: action
    for action in (
        Action("pause", "pause", "Pause", Role.OPERATOR, _ask_pause, _pause, _to_subscription),
        Action("resume", "resume", "Resume", Role.OPERATOR, _ask_resume, _resume, _to_subscription),
        Action("retry", "dead retry", "Retry", Role.OPERATOR, _ask_retry, _retry, _to_dead),
        Action("discard", "dead discard", "Discard", Role.ADMIN, _ask_discard, _discard, _to_dead),
        Action("skip", "skip", "Skip to now", Role.ADMIN, _ask_skip, _skip, _to_subscription),
        Action("correct", "dead correct", "Correct", Role.ADMIN, _ask_correct, _correct, _to_dead),
        Action("replay", "replay", "Replay", Role.OPERATOR, _ask_replay, _replay, _to_subscription),
        Action(
            "pause-schedule",
            "schedule pause",
            "Pause a schedule",
            Role.OPERATOR,
            _ask_pause_schedule,
            _pause_schedule,
            _to_schedules,
        ),
        Action(
            "resume-schedule",
            "schedule resume",
            "Resume a schedule",
            Role.OPERATOR,
            _ask_resume_schedule,
            _resume_schedule,
            _to_schedules,
        ),
        Action(
            "cancel-scheduled",
            "scheduled cancel",
            "Cancel an event",
            Role.ADMIN,
            _ask_cancel_scheduled,
            _cancel_scheduled,
            _to_schedules,
        ),
        Action("go-on", "replay", "Go on with a replay", Role.OPERATOR, _ask_go_on, _go_on, _to_subscription),
    )
}


def recorded_as(path: str) -> str:
    """What the audit calls a request to *path*."""
    verb = path.rpartition("/")[2]
    return ACTIONS[verb].recorded if verb in ACTIONS else path[:100]
