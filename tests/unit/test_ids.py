from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from itertools import pairwise
from uuid import UUID, uuid1, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.ids import RANDOM_BYTES, IdFactory, day_of, is_uuid7, new_id, text_of, uuid7

MILLI = 1_000_000


def millis_of(event_id: UUID) -> int:
    return event_id.int >> 80


class TestLayout:
    def test_the_example_of_rfc_9562_appendix_a_6(self):
        random_bytes = (0xCC3 << 68 | 0x18C4DC0C0C07398F).to_bytes(10)
        assert uuid7(0x017F22E279B0, random_bytes) == UUID("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")

    @given(st.integers(0, 2**48 - 1), st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES))
    def test_version_variant_and_time_stand_where_they_belong(self, millis, random_bytes):
        made = uuid7(millis, random_bytes)
        assert is_uuid7(made)
        assert millis_of(made) == millis
        assert made == uuid7(millis, random_bytes)

    @given(st.binary(min_size=16, max_size=16))
    def test_the_text_of_an_id_is_that_of_the_standard_library(self, raw):
        assert text_of(raw) == str(UUID(bytes=raw))

    @pytest.mark.parametrize("millis", [-1, 2**48])
    def test_times_that_do_not_fit(self, millis):
        with pytest.raises(ValueError, match="outside of 0"):
            uuid7(millis, bytes(RANDOM_BYTES))

    @pytest.mark.parametrize("count", [0, 9, 11])
    def test_the_wrong_number_of_random_bytes(self, count):
        with pytest.raises(ValueError, match="takes 10 random bytes"):
            uuid7(0, bytes(count))

    @pytest.mark.parametrize("other", [uuid4(), uuid1(), UUID(int=0), UUID(int=2**128 - 1)])
    def test_other_ids_are_none_of_them(self, other):
        assert not is_uuid7(other)
        assert day_of(other) is None

    def test_version_7_of_another_variant_is_none(self):
        assert not is_uuid7(UUID("017f22e2-79b0-7cc3-08c4-dc0c0c07398f"))


class TestDays:
    @given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 12, 31, 23)))  # noqa: DTZ001
    def test_the_utc_day(self, naive):
        moment = naive.replace(tzinfo=UTC)
        millis = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // (datetime.resolution * 1000)
        assert day_of(uuid7(millis, bytes(RANDOM_BYTES))) == moment.date()

    def test_the_day_turns_at_midnight(self):
        midnight = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp() * 1000)
        assert day_of(uuid7(midnight - 1, b"\xff" * RANDOM_BYTES)) == date(2026, 2, 28)
        assert day_of(uuid7(midnight, bytes(RANDOM_BYTES))) == date(2026, 3, 1)

    def test_after_the_year_9999_there_is_none(self):
        assert day_of(uuid7(2**48 - 1, bytes(RANDOM_BYTES))) is None


class TestFactory:
    @given(st.lists(st.integers(0, 5 * MILLI), min_size=1), st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES))
    def test_ids_sort_in_call_order_whatever_the_clock_does(self, times, random_bytes):
        make = IdFactory(iter(times).__next__, lambda count: random_bytes)
        made = [make() for _ in times]
        assert all(earlier < later for earlier, later in pairwise(made))
        assert all(str(earlier) < str(later) for earlier, later in pairwise(made))
        assert all(is_uuid7(one) for one in made)
        assert millis_of(made[0]) == times[0] // MILLI

    @pytest.mark.parametrize("random_byte", [b"\0", b"\xff"])
    def test_a_used_up_millisecond_goes_on_in_the_next(self, random_byte):
        make = IdFactory(lambda: 9 * MILLI, lambda count: random_byte * count)
        made = [make() for _ in range(5000)]
        assert made == sorted(set(made))
        in_the_first = sum(millis_of(one) == 9 for one in made)
        assert 2048 <= in_the_first <= 4096
        assert millis_of(made[-1]) == 10

    def test_it_returns_to_the_clock_once_that_is_ahead(self):
        times = iter([50 * MILLI, 20 * MILLI, 51 * MILLI])
        make = IdFactory(lambda: next(times), os.urandom)
        assert [millis_of(make()) for _ in range(3)] == [50, 50, 51]

    def test_the_same_inputs_give_the_same_ids(self):
        def ids():
            make = IdFactory(iter(range(0, 9 * MILLI, MILLI // 2)).__next__, lambda count: b"\x5a" * count)
            return [make() for _ in range(9)]

        assert ids() == ids()

    def test_threads_never_share_an_id(self):
        def several(_):
            return [new_id() for _ in range(2000)]

        with ThreadPoolExecutor(4) as threads:
            made = list(threads.map(several, range(4)))
        assert all(one == sorted(one) for one in made)
        assert len(set().union(*made)) == 8000

    def test_a_child_repeats_none_and_is_not_held_up_by_a_lock_of_the_parent(self):
        make = IdFactory(lambda: 7 * MILLI)
        make()
        with make._lock:
            child, from_child = forked_ids(make, 100)
        own = {make().bytes for _ in range(100)}
        assert child == 0
        assert len(own | from_child) == 200

    def test_the_default_is_of_today(self):
        before = datetime.now(UTC).date()
        found = day_of(new_id())
        assert found is not None
        assert before <= found <= datetime.now(UTC).date()


def forked_ids(make: IdFactory, count: int) -> tuple[int, set[bytes]]:
    """The exit code of a forked child and the ids that it made."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)  # a child that waits for ever must not outlive the test
        os.write(writing, b"".join(make().bytes for _ in range(count)))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        received = pipe.read()
    _, status = os.waitpid(pid, 0)
    return status, {received[start : start + 16] for start in range(0, len(received), 16)}
