from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import names
from holdfast.errors import InvalidEvent, InvalidSubscription
from holdfast.names import (
    check_event_id,
    check_key,
    check_name,
    check_occurred_at,
    check_subscription_name,
    check_tenant,
)


def refused(check, value, *, kind=InvalidEvent):
    with pytest.raises(kind) as caught:
        check(value, 4) if kind is InvalidEvent else check(value)
    assert type(caught.value) is kind
    assert caught.value.index == (4 if kind is InvalidEvent else None)
    assert len(str(caught.value)) < 400
    str(caught.value).encode()
    return caught.value


class Name(StrEnum):
    PLACED = "order.placed"


class TestEventNames:
    @pytest.mark.parametrize("name", ["a", "order.placed", "A-z_0:/9.b", "-", "a" * 200, ".".join("a" * 100), "1.2.3"])
    def test_valid_names_come_back(self, name):
        assert check_name(name) == name

    def test_a_member_of_a_str_enum_becomes_a_plain_string(self):
        assert type(check_name(Name.PLACED)) is str

    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            ("", "is empty"),
            (" ", "' ' has the character ' ' at position 0"),
            ("a b", "'a b' has the character ' ' at position 1"),
            ("a..b", "'a..b' has an empty segment"),
            (".a", "'.a' has an empty segment"),
            ("a.", "'a.' has an empty segment"),
            (".", "'.' has an empty segment"),
            ("a%", "'a%' has the character '%' at position 1"),
            ("a'b", 'has the character "\'" at position 1'),
            ('a"b', "has the character '\"' at position 1"),
            ("a;b", "has the character ';' at position 1"),
            ("a\n", "'a\\n' has the character '\\n' at position 1"),
            ("a\0b", "has the character '\\x00' at position 1"),
            ("ä", "has the character '\\xe4' at position 0"),
            ("\ud800", "has the character '\\ud800' at position 0"),
            ("order.*", "has the character '*' at position 6"),
            ("a" * 201, "has 201 characters"),
            ("\n" * 100_000, "has 100000 characters"),
            (None, "is of type NoneType"),
            (b"a", "is of type bytes"),
            (["a"], "is of type list"),
        ],
    )
    def test_what_is_refused(self, name, problem):
        error = refused(check_name, name)
        assert error.field == "name"
        assert problem in error.problem
        assert error.rule == names.NAME_RULE

    @given(st.text(st.sampled_from("aZ0_:/-. *\n%"), max_size=8) | st.text(max_size=5))
    def test_the_rule_as_a_sentence(self, name):
        good = all(re.fullmatch(r"[A-Za-z0-9_:/\-]+", segment) for segment in name.split("."))
        if good:
            assert check_name(name) == name
        else:
            refused(check_name, name)

    def test_refused_names_take_no_place_in_the_cache(self):
        before = names._valid_name.cache_info().currsize
        for number in range(10):
            refused(check_name, f"bad name {number}")
        assert names._valid_name.cache_info().currsize == before


@pytest.mark.parametrize(("check", "field"), [(check_tenant, "tenant_id"), (check_key, "key")])
class TestTenantsAndKeys:
    @pytest.mark.parametrize("text", ["a", "a" * 255, "😀" * 255, " ", "%';\n", "ünï"])
    def test_any_text_of_1_to_255_characters(self, check, field, text):
        assert check(text) == text

    def test_a_member_of_a_str_enum_becomes_a_plain_string(self, check, field):
        assert type(check(Name.PLACED)) is str

    @pytest.mark.parametrize(
        ("value", "problem"),
        [
            ("", "has 0 characters"),
            ("a" * 256, "has 256 characters"),
            ("😀" * 256, "has 256 characters"),
            ("ab\0", "has the character U+0000 at position 2"),
            ("é\0", "has the character U+0000 at position 1"),
            ("a\udfff", "has the lone surrogate U+DFFF at position 1"),
            (5, "is of type int"),
            (b"a", "is of type bytes"),
            (UUID(int=1), "is of type uuid.UUID"),
        ],
    )
    def test_what_is_refused(self, check, field, value, problem):
        error = refused(check, value)
        assert (error.field, error.problem) == (field, problem)
        assert "1 to 255 characters" in error.rule


def test_a_key_may_be_none_and_a_tenant_may_not():
    assert check_key(None) is None
    assert refused(check_tenant, None).problem == "is of type NoneType"


class DriverUUID(UUID):
    pass


class TestEventIds:
    @given(st.uuids())
    def test_a_uuid_or_its_text(self, event_id):
        for given_id in (event_id, str(event_id), str(event_id).upper(), event_id.hex, DriverUUID(event_id.hex)):
            found = check_event_id(given_id)
            assert found == event_id
            assert type(found) is UUID

    def test_every_version_and_the_largest(self):
        assert check_event_id(UUID(int=2**128 - 1)) == UUID(int=2**128 - 1)

    @pytest.mark.parametrize(
        ("value", "problem"),
        [
            (UUID(int=0), "is the nil UUID"),
            (str(UUID(int=0)), "is the nil UUID"),
            ("", "'' is not a UUID"),
            ("abc", "'abc' is not a UUID"),
            ("{0190b2a4-7c1e-7d3a-9b7e-2f6c1d0e5a41}", "is not a UUID"),
            ("urn:uuid:0190b2a4-7c1e-7d3a-9b7e-2f6c1d0e5a41", "is not a UUID"),
            ("0190b2a4-7c1e-7d3a-9b7e-2f6c1d0e5a41\n", "is not a UUID"),
            ("0190b2a47c1e-7d3a-9b7e-2f6c1d0e5a41", "is not a UUID"),
            ("0190_2a47c1e7d3a9b7e2f6c1d0e5a41", "is not a UUID"),
            ("٠" * 32, "is not a UUID"),
            ("x" * 100_000, "is not a UUID"),
            ("\ud800", "is not a UUID"),
            (b"\x01" * 16, "is of type bytes"),
            (7, "is of type int"),
            (None, "is of type NoneType"),
        ],
    )
    def test_what_is_refused(self, value, problem):
        error = refused(check_event_id, value)
        assert error.field == "event_id"
        assert problem in error.problem
        assert "use a UUID" in error.rule


class TestTimes:
    @given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)), st.integers(-1439, 1439))  # noqa: DTZ001
    def test_the_same_moment_in_utc(self, naive, minutes):
        moment = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
        for given_time in (moment, moment.isoformat()):
            found = check_occurred_at(given_time)
            assert found == moment
            assert found.tzinfo is UTC

    @pytest.mark.parametrize(
        "moment", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)]
    )
    def test_the_first_and_the_last_moment_are_kept_exactly(self, moment):
        assert check_occurred_at(moment) == moment
        assert check_occurred_at(moment.isoformat()) == moment

    def test_the_repeated_hour_keeps_its_fold(self):
        berlin = datetime(2025, 10, 26, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
        hours = [check_occurred_at(berlin.replace(fold=fold)).hour for fold in (0, 1)]
        assert hours == [0, 1]

    def test_other_programs_spellings(self):
        assert check_occurred_at("2026-01-02T03:04:05Z") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        nanoseconds = check_occurred_at("2026-01-02T03:04:05.123456789Z")
        assert nanoseconds == datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("value", "problem"),
        [
            (datetime(2026, 1, 2), "is naive"),  # noqa: DTZ001 - naive is the point
            ("2026-01-02T03:04:05", "is naive"),
            ("2026-01-02", "is naive"),
            ("yesterday", "'yesterday' is not a time"),
            ("", "'' is not a time"),
            ("\ud800", "is not a time"),
            ("x" * 100_000, "is not a time"),
            ("0000-01-01T00:00:00Z", "is not a time"),
            (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), "leaves the years 1 to 9999 in UTC"),
            ("9999-12-31T23:59:59-01:00", "leaves the years 1 to 9999 in UTC"),
            (datetime(2026, 1, 2, tzinfo=UTC).date(), "is of type datetime.date"),
            (1767312000, "is of type int"),
            (None, "is of type NoneType"),
        ],
    )
    def test_what_is_refused(self, value, problem):
        error = refused(check_occurred_at, value)
        assert error.field == "occurred_at"
        assert problem in error.problem
        assert "aware" in error.rule


class TestSubscriptionNames:
    @pytest.mark.parametrize("name", ["billing", "app.orders.send_receipt", "a" * 200, "x<y>:/-_.", "."])
    def test_valid_names_come_back(self, name):
        assert check_subscription_name(name) == name

    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            ("", "is empty"),
            ("a" * 201, "has 201 characters"),
            ("a b", "'a b' has a character outside the rule"),
            ("a\n", "has a character outside the rule"),
            ("\0", "has a character outside the rule"),
            ("ä", "has a character outside the rule"),
            (None, "is of type NoneType"),
        ],
    )
    def test_what_is_refused(self, name, problem):
        error = refused(check_subscription_name, name, kind=InvalidSubscription)
        assert error.field == "name"
        assert problem in error.problem
        assert "1 to 200 characters" in error.rule
