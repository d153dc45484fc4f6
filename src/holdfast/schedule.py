"""Schedules: when something recurs, and which of its times are to become events. Pure; ``cronsim`` reads lines of cron."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from holdfast.errors import InvalidEvent, InvalidSubscription, MissingExtra
from holdfast.event import EPOCH
from holdfast.names import check_name, check_tenant, shown, shown_value, type_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zoneinfo import ZoneInfo

Missed: TypeAlias = Literal["skip", "once", "all"]

LATE_SECONDS = 60.0
"""A time that is further back than this was missed: nobody worked, or the clock was set forward."""
MADE_AT_ONCE = 100
"""Events that the policy ``"all"`` makes in one transaction; the others follow in the next ones."""

_RULE = (
    'use a line of cron such as "0 9 * * 1-5", in the order minute, hour, day, month, weekday, or a timedelta of a '
    "second or more"
)
_INTERVAL, _LONGEST = "every", timedelta(days=3660)
_FIELDS = 5
_STEPS_MAX, _LOOK_BACK = 1_000, timedelta(days=8)


@dataclass(frozen=True, slots=True)
class Schedule:
    """
    Something that recurs; each of its times becomes an event, once, whatever the number of workers.

    Attributes:
        name: That of its subscription, which is its own.
        rule: A line of cron, or ``every <seconds>``.
        zone: The IANA time zone in which the line of cron is read.
        missed: What becomes of times at which nobody worked: ``"skip"``, ``"once"`` for all of them, or ``"all"``.
        tenant_id: Whose events they are.
    """

    name: str
    rule: str
    zone: str
    missed: Missed
    tenant_id: str

    @property
    def event_name(self) -> str:
        return event_name_of(self.name)


class Firing(NamedTuple):
    """
    What is to be done about a schedule now.

    Attributes:
        times: Each is to become an event, in this order.
        next_at: When to look again; it may be over already.
    """

    times: tuple[datetime, ...]
    next_at: datetime


def event_name_of(name: str) -> str:
    """The name of the events of the schedule *name*."""
    return f"schedule.{name}"


def make_schedule(name: str, rule: Any, *, tz: Any, missed: Any, tenant_id: str) -> Schedule:
    """
    Check the arguments of ``every``.

    Args:
        rule: A line of cron, or a timedelta.

    Raises:
        InvalidSubscription: Names the argument and the rule.
        InvalidEvent: No tenant can have that name.
        MissingExtra: ``cronsim`` is not installed.
    """
    try:
        check_name(event_name_of(name))
    except InvalidEvent as error:
        raise InvalidSubscription(
            "name", f"{name!r} cannot be the name of a schedule: {error.problem}", error.rule
        ) from None
    if missed not in ("skip", "once", "all"):
        raise InvalidSubscription("missed", f"is {shown_value(missed)}", 'use "skip", "once" or "all"')
    schedule = Schedule(name, _rule_text(rule), _zone_name(tz), missed, check_tenant(tenant_id))
    first_after(schedule.rule, schedule.zone, EPOCH)
    return schedule


def first_after(rule: str, zone: str, moment: datetime) -> datetime:
    """
    The first time of a schedule after *moment*, in UTC.

    An hour that the clocks skip, or show twice, is treated as Debian's cron does: what runs at a fixed time runs once
    that day, what runs every so many hours or minutes follows the time that passes.

    Raises:
        InvalidSubscription: The rule cannot be read, or has no time within fifty years.
        MissingExtra: ``cronsim`` is not installed.
    """
    for one in times_after(rule, zone, moment):
        return one
    raise InvalidSubscription("rule", f"{rule!r} never comes due", _RULE)


def times_after(rule: str, zone: str, moment: datetime) -> Iterator[datetime]:
    """All times of a schedule after *moment*, in UTC. Raises as `first_after`."""
    if (step := _interval(rule)) is None:
        for local in _cron(rule, moment.astimezone(_zone(zone))):
            yield local.astimezone(UTC)
        return
    one = _last_multiple(step, moment)
    while True:
        one += step
        yield one


def firing(rule: str, zone: str, missed: Missed, *, next_at: datetime, now: datetime, not_before: datetime) -> Firing:
    """
    Which times of a schedule become events now.

    Args:
        next_at: The first time that has not become one.
        now: By the store's clock, not before *next_at*.
        not_before: When it was last resumed: what lies before was not missed, it was paused.

    Raises:
        InvalidSubscription, MissingExtra: As `first_after`.
    """
    if missed == "all":
        return _all(rule, zone, next_at=next_at, now=now, not_before=not_before)
    last = _last_until(rule, zone, next_at=next_at, now=now)
    is_late = (now - last).total_seconds() > LATE_SECONDS
    is_passed_over = last < not_before or (missed == "skip" and is_late)
    return Firing(() if is_passed_over else (last,), first_after(rule, zone, max(last, now)))


def _all(rule: str, zone: str, *, next_at: datetime, now: datetime, not_before: datetime) -> Firing:
    first = next_at if next_at >= not_before else first_after(rule, zone, not_before - timedelta(microseconds=1))
    times, one = list[datetime](), first
    for following in times_after(rule, zone, first):
        if one > now or len(times) == MADE_AT_ONCE:
            break
        times.append(one)
        one = following
    return Firing(tuple(times), one)


def _last_until(rule: str, zone: str, *, next_at: datetime, now: datetime) -> datetime:
    """The last time that is not after *now*; *next_at* is one."""
    if (step := _interval(rule)) is not None:
        return max(next_at, _last_multiple(step, now))
    last = next_at
    for steps, one in enumerate(times_after(rule, zone, next_at)):
        if one > now:
            return last
        if steps == _STEPS_MAX:
            break
        last = one
    # Of so many nobody wants to look at each: those of the last days tell which is the last.
    for one in times_after(rule, zone, max(last, now - _LOOK_BACK)):
        if one > now:
            break
        last = one
    return last


def _last_multiple(step: timedelta, moment: datetime) -> datetime:
    return EPOCH + (moment - EPOCH) // step * step


def _rule_text(rule: Any) -> str:
    if isinstance(rule, timedelta):
        if not timedelta(seconds=1) <= rule <= _LONGEST:
            raise InvalidSubscription("rule", f"is every {rule}", f"use a second to {_LONGEST.days} days")
        return f"{_INTERVAL} {rule.total_seconds():.6f}".rstrip("0").rstrip(".")
    if not isinstance(rule, str):
        raise InvalidSubscription("rule", f"is of type {type_name(rule)}", _RULE)
    if len(fields := rule.split()) != _FIELDS:
        raise InvalidSubscription("rule", f"{shown(rule)} has not five fields", _RULE)
    return " ".join(fields)


def _interval(rule: str) -> timedelta | None:
    words = rule.split()
    return timedelta(seconds=float(words[1])) if len(words) == 2 and words[0] == _INTERVAL else None


def _zone_name(tz: Any) -> str:
    name = str(tz)  # a ZoneInfo is its key
    _zone(name)
    return name


def _zone(name: str) -> ZoneInfo:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidSubscription(
            "tz", f"{name!r} is no time zone that this machine knows", 'use an IANA name such as "Europe/Lisbon"'
        ) from error


def _cron(rule: str, moment: datetime) -> Iterator[datetime]:
    try:
        from cronsim import CronSim, CronSimError
    except ImportError as error:
        raise MissingExtra("cronsim", "schedules", "a schedule by a line of cron") from error
    try:
        return CronSim(rule, moment)
    except CronSimError as error:
        raise InvalidSubscription("rule", f"{rule!r} is no line of cron: {error}", _RULE) from error
