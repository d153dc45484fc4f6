"""What a worker decides of subscriptions that lag behind retention."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from holdfast.stores.lagging import all_let_go
from holdfast.stores.values import Laggard
from holdfast.worker.letting_go import within_reach

if TYPE_CHECKING:
    from holdfast.stores.values import BehindRetention

MONDAY, TUESDAY = date(2026, 11, 2), date(2026, 11, 3)


def laggard(name: str, choice: BehindRetention, day: date | None = MONDAY) -> Laggard:
    return Laggard(1, name, choice, day, "1")


@pytest.mark.parametrize(
    ("choices", "let_go"),
    [
        ([], False), (["drop"], True), (["archive"], True), (["archive", "drop"], True), (["hold"], False),
        (["drop", "hold"], False),
    ],
)  # fmt: skip
def test_a_part_of_the_log_is_let_go_of_if_nobody_holds_it(choices, let_go):
    assert all_let_go(choices) is let_go


@pytest.mark.parametrize("day", [MONDAY, None])
def test_with_an_archive_everybody_is_within_reach(day):
    laggards = [laggard("one", "archive", day), laggard("two", "drop", day)]
    assert within_reach(laggards, has_archive=True) == laggards


def test_without_an_archive_a_day_that_somebody_wants_archived_is_left_to_others():
    laggards = [laggard("one", "archive"), laggard("two", "drop"), laggard("two", "drop", TUESDAY)]
    assert within_reach(laggards, has_archive=False) == laggards[2:]


def test_where_there_are_no_days_all_of_it_is_one_part():
    laggards = [laggard("one", "archive", None), laggard("two", "drop", None)]
    assert within_reach(laggards, has_archive=False) == []
