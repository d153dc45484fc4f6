"""The part of `EventBus` that has to do with time: schedules, and events that were published for later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, overload

from holdfast.names import check_due, check_event_id
from holdfast.schedule import event_name_of, make_schedule
from holdfast.subscription import Handler, default_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime, timedelta
    from uuid import UUID

    from holdfast.live import Live
    from holdfast.options import BusOptions
    from holdfast.schedule import Schedule
    from holdfast.subscription import SubscribeOptions

H = TypeVar("H", bound=Handler)
T = TypeVar("T")


class Timing:
    """What a bus does at a time."""

    _options: BusOptions
    subscribe: Any  # the bus's own

    def __init__(self) -> None:
        super().__init__()
        self._schedules: dict[str, Schedule] = {}

    async def _at_home(self, work: Callable[[Live], Awaitable[T]]) -> T:
        raise NotImplementedError

    @property
    def schedules(self) -> Mapping[str, Schedule]:
        """The schedules that this program has declared, by the names of their subscriptions."""
        return self._schedules

    @overload
    def every(
        self, rule: str | timedelta, handler: H, *, tz: str = "UTC", missed: Literal["skip", "once", "all"] = "once",
        tenant_id: str = "default", **options: Unpack[SubscribeOptions],
    ) -> H: ...  # fmt: skip
    @overload
    def every(
        self, rule: str | timedelta, handler: None = None, *, tz: str = "UTC",
        missed: Literal["skip", "once", "all"] = "once", tenant_id: str = "default",
        **options: Unpack[SubscribeOptions],
    ) -> Callable[[H], H]: ...  # fmt: skip

    def every(
        self, rule: str | timedelta, handler: Handler | None = None, *, tz: str = "UTC",
        missed: Literal["skip", "once", "all"] = "once", tenant_id: str = "default",
        **options: Unpack[SubscribeOptions],
    ) -> Any:  # fmt: skip
        """
        Declare a schedule, as a decorator or with *handler*: each of its times becomes an event, once, whatever the
        number of workers, and the handler is the only subscription to it that is declared by this.

        The event's name is ``schedule.<name>``, its payload has ``schedule`` and ``due_at``. Its key is the name, so that
        one run comes after the other, retries included; ``ordering="none"`` lets them overlap.

        Args:
            rule: A line of cron (minute, hour, day, month, weekday), or a timedelta: its multiples since 2000 in UTC.
            tz: The IANA time zone in which the line of cron is read. An hour that its clocks skip or show twice: as
                Debian's cron has it.
            missed: Times at which no worker ran, or that are more than a minute over: ``"skip"`` them, make ``"once"``
                an event for all of them, or ``"all"``.
            tenant_id: Whose the events are.
            options: Those of `subscribe`; ``name`` is that of the schedule, too.

        Returns:
            The handler, unchanged.

        Raises:
            InvalidSubscription: An argument breaks a rule.
            MissingExtra: A line of cron takes ``pip install 'holdfast[schedules]'``.
            DuplicateSubscription: Another handler has the name.

        Cost: while schedules are declared, one statement a second for each worker.
        """

        def declare(function: H) -> H:
            given = options.get("name")
            name = default_name(function) if given is None else given
            schedule = make_schedule(name, rule, tz=tz, missed=missed, tenant_id=tenant_id)
            self.subscribe(event_name_of(name), function, **{**options, "name": name})
            self._schedules[name] = schedule
            return function

        return declare if handler is None else declare(handler)

    async def cancel(self, event_id: UUID | str) -> bool:
        """
        Call off an event that was published for later.

        Returns:
            Whether it waited. If not, it was published or cancelled already, or is still in a spool.

        Raises:
            InvalidEvent: No event can have that id.
            StoreUnavailable: The store is away; it may be cancelled or not.
        """
        checked = check_event_id(event_id)

        async def cancel(live: Live) -> bool:
            await live.prepare()
            return await live.store.cancel(checked)

        return await self._at_home(cancel)

    async def reschedule(
        self, event_id: UUID | str, *, deliver_at: datetime | None = None, delay: float | None = None
    ) -> bool:
        """
        Change when an event that was published for later comes into the log.

        Args:
            deliver_at: As in `EventBus.publish`, or *delay*; a time that is over means now.

        Returns:
            Whether it waited, as `cancel`.

        Raises:
            InvalidEvent, StoreUnavailable: As `cancel`.
        """
        checked, now = check_event_id(event_id), self._options.now()
        due_at = check_due(deliver_at, delay, now) or now

        async def reschedule(live: Live) -> bool:
            await live.prepare()
            is_moved = await live.store.reschedule(checked, due_at)
            live.hurry()
            return is_moved

        return await self._at_home(reschedule)
