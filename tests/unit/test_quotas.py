"""What a quota lets in: by the log alone, whoever else publishes, and with few looks at it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast import Quota
from holdfast.composing import compose
from holdfast.errors import ConfigurationError, QuotaExceeded
from holdfast.quotas import Quotas
from tests.bus.waiting import until

HOUR = timedelta(hours=1)


def events(number: int, tenant: str = "acme") -> list[Any]:
    made = compose(
        "a", None, tenant_id=tenant, key=None, event_id=None, headers=None, occurred_at=None, cause=None, limit=100
    )
    return [made] * number


class Log:
    """Times of the events of each tenant, and a clock."""

    def __init__(self) -> None:
        self.now, self.looks = 0.0, 0
        self.times: dict[str, list[float]] = {}
        self.meanwhile: Any = None

    async def count(self, tenant: str, seconds: float, limit: int) -> int:
        self.looks += 1
        await asyncio.sleep(0)
        if self.meanwhile is not None:
            await self.meanwhile()
        return min(limit, sum(time >= self.now - seconds for time in self.times.get(tenant, [])))

    def quotas(self, quota: Any) -> Quotas:
        return Quotas(quota, self.count, lambda: self.now)

    def publish(self, quotas: Quotas, number: int = 1, tenant: str = "acme") -> bool:
        return asyncio.run(self.publishing(quotas, number, tenant))

    async def publishing(self, quotas: Quotas, number: int = 1, tenant: str = "acme", wait: Any = None) -> bool:
        try:
            async with quotas.admitted(events(number, tenant)):
                if wait is not None:
                    await wait()
                self.times.setdefault(tenant, []).extend([self.now] * number)
        except QuotaExceeded:
            return False
        return True


async def enter(quotas: Quotas, given: list[Any]) -> None:
    async with quotas.admitted(given):
        pass


@given(st.integers(1, 300), st.lists(st.integers(1, 40), max_size=60))
def test_one_process_lets_in_exactly_what_is_within_the_quota(quota: int, numbers: list[int]) -> None:
    log = Log()
    quotas, total = log.quotas(Quota(quota, HOUR)), 0
    for number in numbers:
        fits = total + number <= quota
        assert log.publish(quotas, number) is fits
        total += number * fits


@given(st.integers(1, 400), st.lists(st.integers(0, 3), max_size=600))
@example(400, [0, 1, 2, 3] * 400)
def test_several_go_beyond_it_by_no_more_than_a_twentieth_each(quota: int, turns: list[int]) -> None:
    log = Log()
    processes = [log.quotas(Quota(quota, HOUR)) for _ in range(4)]
    for turn in turns:
        log.publish(processes[turn])
    total = len(log.times.get("acme", []))
    assert total <= quota + (len(processes) - 1) * max(1, quota // 20)
    assert total >= min(len(turns), quota)


def test_looks_are_few() -> None:
    log = Log()
    quotas = log.quotas(Quota(10_000, HOUR))
    while log.publish(quotas):
        pass
    assert len(log.times["acme"]) == 10_000
    assert log.looks < 200
    before = log.looks
    assert not any(log.publish(quotas) for _ in range(1_000))
    assert log.looks <= before + 1


def test_what_has_passed_out_of_the_time_makes_room() -> None:
    log = Log()
    quotas = log.quotas(Quota(2, timedelta(seconds=60)))
    assert [log.publish(quotas) for _ in range(3)] == [True, True, False]
    log.now = 59.0
    assert not log.publish(quotas)
    log.now = 61.0
    assert [log.publish(quotas) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize(("per", "seconds"), [(timedelta(seconds=1), 1.0), (HOUR, 3.6), (timedelta(days=1), 86.4)])
def test_what_others_have_published_is_seen_after_a_thousandth_of_the_time(per: timedelta, seconds: float) -> None:
    log = Log()
    quotas = log.quotas(Quota(1_000, per))
    assert log.publish(quotas)
    log.times["acme"] += [0.5] * 999
    log.now = seconds - 0.01
    assert log.publish(quotas)
    log.now = seconds + 0.01
    assert not log.publish(quotas) or per == timedelta(seconds=1)


@pytest.mark.parametrize("quota", [1, 50, 1_000])
async def test_many_at_once_are_let_in_by_one_rest(quota: int) -> None:
    log = Log()
    quotas, go = log.quotas(Quota(quota, HOUR)), asyncio.Event()
    callers = [asyncio.ensure_future(log.publishing(quotas, wait=go.wait)) for _ in range(300)]
    # No look sees those under way.
    await until(lambda: quotas._under_way["acme"] == min(300, quota))
    go.set()
    assert (await asyncio.gather(*callers)).count(True) == min(300, quota)
    assert len(log.times["acme"]) == min(300, quota)
    assert not quotas._under_way


async def test_nobody_is_refused_for_what_a_look_has_counted_twice() -> None:
    log = Log()
    quotas, go = log.quotas(Quota(2, HOUR)), asyncio.Event()
    first = asyncio.ensure_future(log.publishing(quotas, wait=go.wait))
    await until(lambda: quotas._under_way["acme"] == 1)

    async def ends() -> None:
        log.meanwhile = None
        go.set()
        assert await first

    log.meanwhile = ends  # after the look has begun, before it counts
    assert await log.publishing(quotas)
    assert log.looks == 3
    assert not await log.publishing(quotas)


async def test_what_is_not_stored_after_all_makes_room_with_the_next_look() -> None:
    log = Log()
    quotas = log.quotas(Quota(1, HOUR))
    with pytest.raises(ZeroDivisionError):
        async with quotas.admitted(events(1)):
            raise ZeroDivisionError
    log.now = 3_600.0
    assert await log.publishing(quotas)


def test_another_quota_counts_at_once() -> None:
    log, wanted = Log(), {"acme": Quota(1, HOUR)}
    quotas = log.quotas(wanted.get)
    assert [log.publish(quotas), log.publish(quotas)] == [True, False]
    wanted["acme"] = Quota(2, HOUR)
    assert [log.publish(quotas), log.publish(quotas)] == [True, False]
    del wanted["acme"]
    assert all(log.publish(quotas) for _ in range(5))
    wanted["acme"] = Quota(1, HOUR)
    assert not log.publish(quotas)


def test_a_list_is_let_in_whole_or_not_at_all() -> None:
    log = Log()
    quotas = log.quotas({"acme": Quota(5, HOUR), "bell": Quota(1, HOUR)}.get)
    with pytest.raises(QuotaExceeded) as refused:
        asyncio.run(enter(quotas, [*events(3), *events(2, "bell"), *events(1, "free")]))
    error = refused.value
    assert (error.tenant_id, error.events, error.per, error.left, error.number) == ("bell", 1, HOUR, 1, 2)
    assert log.publish(quotas, 5)  # those of the refused list are not counted


def test_what_is_only_counted_uses_it_up_and_needs_no_look() -> None:
    log = Log()
    quotas = log.quotas(Quota(3, HOUR))
    quotas.count(events(2))
    assert log.looks == 0
    assert log.publish(quotas)
    quotas.count(events(2))
    log.times["acme"] += [0.0] * 2
    assert not log.publish(quotas)


def test_tenants_that_do_not_come_again_are_forgotten() -> None:
    log = Log()
    quotas = log.quotas(Quota(5, timedelta(seconds=1)))
    for number in range(5_000):
        log.now += 0.01
        assert log.publish(quotas, tenant=f"t{number}")
    assert len(quotas._allowances) <= 1_100


def test_the_error_says_who_how_many_and_what_next() -> None:
    log = Log()
    quotas = log.quotas(Quota(1, timedelta(days=1)))
    assert log.publish(quotas)
    with pytest.raises(QuotaExceeded) as refused:
        asyncio.run(enter(quotas, events(2)))
    assert str(refused.value) == (
        "tenant 'acme' may publish 1 event in 24 h, 0 more now, and these are 2: nothing was stored; "
        "try again in 86 s or later, or give the tenant more by EventBus(quota=...)"
    )


@pytest.mark.parametrize(
    ("number", "per"), [(0, HOUR), (True, HOUR), (1.5, HOUR), (10**10, HOUR), (1, 3600), (1, timedelta(0)), (1, timedelta(days=400))]
)  # fmt: skip
def test_a_quota_out_of_its_range_is_refused(number: Any, per: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Quota\.(events|per) is"):
        Quota(number, per)


def test_a_function_that_gives_something_else_is_named() -> None:
    given: Any = {"acme": 5}.get
    with pytest.raises(ConfigurationError, match="gave int for tenant 'acme'"):
        Log().publish(Log().quotas(given))
