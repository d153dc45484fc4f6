"""Quotas: how many events of a tenant are let in, by what the log says of the time that has just passed."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from holdfast.errors import ConfigurationError, QuotaExceeded
from holdfast.names import shown_value, type_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from holdfast.event import NewEvent

    Count = Callable[[str, float, int], Awaitable[int]]
    """Of a tenant, how many events the store has of the last so many seconds, counted no further than that."""

_EVENTS_MAX, _PER_MAX = 1_000_000_000, timedelta(days=366)
_PART_AT_A_TIME = 20
_LOOKS = 1_000
_LOOK_SECONDS = 1.0
_FEW = 1_024


@dataclass(frozen=True, slots=True)
class Quota:
    """How many events of a tenant may be published in some time, counted back from now.

    Args:
        events: 1 to a billion.
        per: A second to 366 days.

    Raises:
        ConfigurationError: A value is out of its range.
    """

    events: int
    per: timedelta

    def __post_init__(self) -> None:
        events: Any = self.events  # callers without a type checker give other things
        per: Any = self.per
        if not isinstance(events, int) or isinstance(events, bool) or not 1 <= events <= _EVENTS_MAX:
            raise ConfigurationError(f"Quota.events is {shown_value(events)}: give 1 to {_EVENTS_MAX:,}")
        if not isinstance(per, timedelta) or not timedelta(seconds=1) <= per <= _PER_MAX:
            raise ConfigurationError(f"Quota.per is {per!r}: give a timedelta of a second to {_PER_MAX.days} days")

    @property
    def look_seconds(self) -> float:
        """How old a count may be: a thousandth of the time, as what leaves it in there is next to nothing."""
        return max(_LOOK_SECONDS, self.per.total_seconds() / _LOOKS)


def check_quota(given: Any) -> None:
    """Raises ConfigurationError unless it is what `EventBus` takes for ``quota=``."""
    if given is not None and not isinstance(given, Quota) and not callable(given):
        raise ConfigurationError(
            f"quota is of type {type_name(given)}: give a Quota, or a function from a tenant to its Quota or None"
        )


class Allowance:
    """
    What this process may still publish for one tenant, by the last look at the log. Pure.

    A look lets in a part of what is left, so that several processes that look by turns stay together within the quota,
    and the closer they come to it the oftener they look.

    Args:
        quota: What is to be kept.
        used: Events of that time, in the log or on their way there; counted no further than the quota.
        unclear: How many of these may have been counted twice.
        now: The time of the look, seconds.
    """

    __slots__ = ("_part", "ends", "left", "quota", "unclear")

    def __init__(self, quota: Quota, used: int, unclear: int, now: float) -> None:
        self.quota, self.unclear = quota, unclear
        self.left = quota.events - used
        self._part = max(1, self.left // _PART_AT_A_TIME)
        self.ends = now + quota.look_seconds

    def holds(self, quota: Quota, now: float) -> bool:
        """Whether it can still be gone by."""
        return now < self.ends and quota == self.quota

    def knows(self, number: int) -> bool:
        """Whether it can say of so many events, without another look, that they may go or may not."""
        return number <= min(self._part, self.left) or number > self.left + self.unclear

    def lets_in(self, number: int) -> bool:
        """Whether so many are within the quota."""
        return number <= self.left

    def take(self, number: int) -> None:
        """So many go."""
        self.left -= number
        self._part -= number


class Quotas:
    """
    Keeps tenants within their quotas, for one process.

    Cost: a look in a dictionary for each event, and for each twentieth of what is left one count in the log, by its search
    index of tenants. Several processes together go beyond a quota by no more than what they publish between two looks.

    Args:
        quota: One for all tenants, or a function that gives a tenant's; None is no quota.
        count: Asks the store.
        elapsed: The time, seconds.
    """

    def __init__(
        self, quota: Quota | Callable[[str], Quota | None], count: Count, elapsed: Callable[[], float]
    ) -> None:
        self._quota, self._count, self._elapsed = quota, count, elapsed
        self._allowances: dict[str, Allowance] = {}
        self._under_way: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()  # in the course of a look
        self._fewer = asyncio.Event()  # of those under way
        self._looking = asyncio.Lock()
        self._look_at_size = _FEW

    @asynccontextmanager
    async def admitted(self, events: Sequence[NewEvent]) -> AsyncIterator[None]:
        """
        Let *events* in, all of them or none, to be stored within: a look in the meantime does not see them.

        Raises:
            QuotaExceeded: There are more than one of their tenants may publish now.
            ConfigurationError: The function gave something else than a quota.
            StoreError: The log could not be looked at.
        """
        numbers = Counter(event.tenant_id for event in events)
        limited = {name: quota for name in numbers if (quota := self._quota_of(name)) is not None}
        found = {name: await self._allowance(name, quota, numbers[name]) for name, quota in limited.items()}
        # From here on nothing is awaited: several who came at once would all be let in by the same rest.
        for name, quota in limited.items():
            allowance = found[name] = self._allowances.get(name, found[name])
            if not allowance.lets_in(numbers[name]):
                wait = allowance.ends - self._elapsed()
                raise QuotaExceeded(name, quota.events, quota.per, allowance.left, numbers[name], wait)
        for name, allowance in found.items():
            allowance.take(numbers[name])
            self._under_way[name] += numbers[name]
        try:
            yield
        finally:
            gone = Counter({name: numbers[name] for name in limited})
            self._under_way -= gone
            if self._looking.locked():
                self._ended += gone
            self._fewer.set()

    def count(self, events: Sequence[NewEvent]) -> None:
        """These are let in whatever the quota: the next look would find them anyway."""
        for name, number in Counter(event.tenant_id for event in events).items():
            if (known := self._allowances.get(name)) is not None:
                known.take(number)

    def _quota_of(self, tenant_id: str) -> Quota | None:
        if isinstance(self._quota, Quota):
            return self._quota
        found: Any = self._quota(tenant_id)
        if found is not None and not isinstance(found, Quota):
            raise ConfigurationError(
                f"the function given as quota= gave {type_name(found)} for tenant {tenant_id!r}: give a Quota or None"
            )
        return found

    async def _allowance(self, tenant_id: str, quota: Quota, number: int) -> Allowance:
        known = self._known(tenant_id, quota, number)
        if known is not None:
            return known
        async with self._looking:
            known = self._known(tenant_id, quota, number)  # by a look of somebody else who waited
            return known if known is not None else await self._look(tenant_id, quota, number)

    def _known(self, tenant_id: str, quota: Quota, number: int) -> Allowance | None:
        known = self._allowances.get(tenant_id)
        return known if known is not None and known.holds(quota, self._elapsed()) and known.knows(number) else None

    async def _look(self, tenant_id: str, quota: Quota, number: int) -> Allowance:
        while True:
            self._ended.clear()
            used = await self._count(tenant_id, quota.per.total_seconds(), quota.events)
            # These may be stored by now, and counted, or not.
            unclear, now = self._under_way[tenant_id] + self._ended[tenant_id], self._elapsed()
            found = Allowance(quota, used + unclear, unclear, now)
            if found.lets_in(number) or found.knows(number):
                break
            if self._under_way[tenant_id]:
                self._fewer.clear()
                await self._fewer.wait()
        if tenant_id not in self._allowances and len(self._allowances) >= self._look_at_size:
            self._forget(now)
        self._allowances[tenant_id] = found
        return found

    def _forget(self, now: float) -> None:
        """Whose allowance has ended is looked at anew in any case."""
        self._allowances = {name: one for name, one in self._allowances.items() if now < one.ends}
        self._look_at_size = max(_FEW, 2 * len(self._allowances))
