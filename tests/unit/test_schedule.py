"""When schedules come due, and which of their times become events."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from holdfast.errors import InvalidEvent, InvalidSubscription, MissingExtra
from holdfast.event import EPOCH
from holdfast.schedule import LATE_SECONDS, MADE_AT_ONCE, firing, first_after, make_schedule, times_after

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LISBON = "Europe/Lisbon"  # its clocks go from 01:00 to 02:00 on 29 March 2026, and from 02:00 to 01:00 on 25 October

RULES = ["* * * * *", "*/7 * * * *", "30 1 * * *", "0 9 * * 1-5", "15 */5 * * *", "0 0 1 * *", "every 1", "every 90.5"]
ZONES = ["UTC", LISBON, "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"]

rules, zones = st.sampled_from(RULES), st.sampled_from(ZONES)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - given one


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def local(rule: str, zone: str, after: datetime, count: int) -> list[str]:
    """The next times, as a clock on the wall shows them."""
    return [
        one.astimezone(ZoneInfo(zone)).strftime("%d %H:%M %z") for one in islice(times_after(rule, zone, after), count)
    ]


class TestTimes:
    def test_a_line_of_cron_is_read_in_its_zone(self):
        assert first_after("0 9 * * 1-5", LISBON, at("2026-07-03T12:00")) == at("2026-07-06T09:00", LISBON)

    def test_an_interval_has_its_multiples_whenever_it_was_declared(self):
        assert first_after("every 300", "UTC", at("2026-07-03T12:01:07")) == at("2026-07-03T12:05")
        assert first_after("every 300", "UTC", at("2026-07-03T12:05")) == at("2026-07-03T12:10")

    def test_a_fixed_time_in_an_hour_that_is_skipped_comes_once_as_soon_as_it_is_over(self):
        assert local("30 1 * * *", LISBON, at("2026-03-28T00:00"), 3) == [
            "28 01:30 +0000", "29 02:00 +0100", "30 01:30 +0100",
        ]  # fmt: skip

    def test_a_fixed_time_in_an_hour_that_is_shown_twice_comes_once(self):
        assert local("30 1 * * *", LISBON, at("2026-10-24T00:00"), 3) == [
            "24 01:30 +0100", "25 01:30 +0100", "26 01:30 +0000",
        ]  # fmt: skip

    def test_what_comes_every_so_many_minutes_follows_the_time_that_passes(self):
        assert local("*/30 * * * *", LISBON, at("2026-10-25T00:40", LISBON), 4) == [
            "25 01:00 +0100", "25 01:30 +0100", "25 01:00 +0000", "25 01:30 +0000",
        ]  # fmt: skip

    @given(rules, zones, moments)
    def test_times_grow_and_begin_after_the_moment(self, rule, zone, moment):
        found = [moment, *islice(times_after(rule, zone, moment), 20)]
        assert found == sorted(set(found))

    @given(rules, zones, moments)
    def test_no_time_lies_between_a_moment_and_the_first_after_it(self, rule, zone, moment):
        first = first_after(rule, zone, moment)
        between = moment + (first - moment) / 2
        assume(between > moment)
        assert first_after(rule, zone, between) == first


class TestFiring:
    def test_a_time_that_has_just_come_becomes_an_event_whatever_the_policy(self):
        due = at("2026-07-03T09:00")
        for missed in ("skip", "once", "all"):
            found = firing("0 9 * * *", "UTC", missed, next_at=due, now=due + MINUTE / 2, not_before=EPOCH)
            assert found == ((due,), due + DAY)

    def test_of_what_was_missed_each_policy_makes_what_it_says(self):
        first, now = at("2026-07-03T09:00"), at("2026-07-05T10:00")
        made = {
            missed: firing("0 9 * * *", "UTC", missed, next_at=first, now=now, not_before=EPOCH)
            for missed in ("skip", "once", "all")
        }
        following = at("2026-07-06T09:00")
        assert made["skip"] == ((), following)
        assert made["once"] == ((first + 2 * DAY,), following)
        assert made["all"] == ((first, first + DAY, first + 2 * DAY), following)

    def test_what_was_missed_for_long_comes_in_parts(self):
        first = at("2026-07-03T09:00")
        now = first + 250 * MINUTE
        times, following = [], first
        while following <= now:
            part, following = firing("* * * * *", "UTC", "all", next_at=following, now=now, not_before=EPOCH)
            assert len(part) <= MADE_AT_ONCE
            times += part
        assert times == [first + number * MINUTE for number in range(251)]

    def test_years_of_minutes_are_not_looked_at_one_by_one(self):
        first = at("2016-07-03T09:00")
        found = firing("* * * * *", "UTC", "once", next_at=first, now=at("2026-07-03T09:00:30"), not_before=EPOCH)
        assert found == ((at("2026-07-03T09:00"),), at("2026-07-03T09:01"))
        found = firing("every 1", "UTC", "once", next_at=first, now=at("2026-07-03T09:00:30"), not_before=EPOCH)
        assert found == ((at("2026-07-03T09:00:30"),), at("2026-07-03T09:00:31"))

    def test_what_came_due_while_it_was_paused_is_not_made_up_for(self):
        first, resumed, now = at("2026-07-01T09:00"), at("2026-07-03T12:00"), at("2026-07-05T10:00")
        for missed, times in (("once", 1), ("all", 2)):
            found = firing("0 9 * * *", "UTC", missed, next_at=first, now=now, not_before=resumed)
            assert len(found.times) == times
            assert all(one > resumed for one in found.times)
        found = firing("0 9 * * *", "UTC", "once", next_at=first, now=resumed + MINUTE, not_before=resumed)
        assert found == ((), at("2026-07-04T09:00"))

    @given(rules, zones, moments, st.timedeltas(timedelta(0), 3 * DAY), st.sampled_from(["skip", "once", "all"]))
    def test_each_time_becomes_an_event_at_most_once_and_the_next_is_the_first_that_has_not(
        self, rule, zone, moment, passed, missed
    ):
        next_at = first_after(rule, zone, moment)
        now, made, looks = next_at + passed, [], 0
        assume(not (rule == "every 1" and missed == "all" and passed > HOUR))
        while next_at <= now:
            times, following = firing(rule, zone, missed, next_at=next_at, now=now, not_before=EPOCH)
            assert following > next_at
            assert all(next_at <= one <= now for one in times)
            made, next_at, looks = [*made, *times], following, looks + 1
        assert made == sorted(set(made))
        assert next_at == first_after(rule, zone, now)
        if missed != "skip":
            assert made
        if missed != "all":
            assert looks == 1
            assert len(made) <= 1
        if missed == "skip":
            assert all((now - one).total_seconds() <= LATE_SECONDS for one in made)


class TestDeclaring:
    @pytest.mark.parametrize(
        "rule",
        [
            "",
            "* * * *",
            "* * * * * *",
            "61 * * * *",
            "0 0 30 2 *",
            "@daily",
            timedelta(0),
            timedelta(days=4000),
            5,
            None,
        ],
    )
    def test_a_rule_that_cannot_be_is_refused(self, rule):
        with pytest.raises(InvalidSubscription, match="rule "):
            make_schedule("a.b", rule, tz="UTC", missed="once", tenant_id="acme")

    @pytest.mark.parametrize("tz", ["Mars/Olympus", "", "../etc/passwd", None, 5])
    def test_a_zone_that_nobody_knows_is_refused(self, tz):
        with pytest.raises(InvalidSubscription, match="tz "):
            make_schedule("a.b", "* * * * *", tz=tz, missed="once", tenant_id="acme")

    def test_a_policy_name_or_tenant_that_cannot_be_is_refused(self):
        with pytest.raises(InvalidSubscription, match="missed "):
            make_schedule("a.b", "* * * * *", tz="UTC", missed="twice", tenant_id="acme")
        with pytest.raises(InvalidSubscription, match="name "):
            make_schedule("a<b>", "* * * * *", tz="UTC", missed="once", tenant_id="acme")
        with pytest.raises(InvalidEvent, match="tenant_id "):
            make_schedule("a.b", "* * * * *", tz="UTC", missed="once", tenant_id="")

    def test_a_zone_may_be_given_as_what_it_is_and_a_rule_with_any_blanks(self):
        found = make_schedule("a.b", " 0  9 * * 1-5 ", tz=ZoneInfo(LISBON), missed="once", tenant_id="acme")
        assert (found.rule, found.zone, found.event_name) == ("0 9 * * 1-5", LISBON, "schedule.a.b")
        assert make_schedule("a", timedelta(seconds=1.5), tz="UTC", missed="once", tenant_id="acme").rule == "every 1.5"

    def test_without_cronsim_it_says_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "cronsim", None)
        with pytest.raises(MissingExtra, match=r"holdfast\[schedules\]"):
            make_schedule("a.b", "* * * * *", tz="UTC", missed="once", tenant_id="acme")
        assert make_schedule("a.b", MINUTE, tz="UTC", missed="once", tenant_id="acme").rule == "every 60"
